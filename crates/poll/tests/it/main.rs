//! Tests the poller from outside: traces under virtual time, and invariants under random inputs.

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod late;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod ordered;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod script;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod week;
