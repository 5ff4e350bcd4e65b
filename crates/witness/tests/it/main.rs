//! Tests `witness` from outside.

#[cfg(test)]
mod gathering;
#[cfg(test)]
mod house;
#[cfg(test)]
mod http;
#[cfg(test)]
mod records;
