//! Tests `tlog` from outside.

#[cfg(test)]
mod add_checkpoint;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod checkpoints;
#[cfg(test)]
mod cosignatures;
#[cfg(test)]
mod multiproofs;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod proof_files;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod rfc6962;
#[cfg(test)]
mod tessera;
#[cfg(test)]
mod tiles;
