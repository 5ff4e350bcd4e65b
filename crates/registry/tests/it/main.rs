//! Tests `registry` from outside, over HTTP.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod house;
#[cfg(test)]
mod pulling;
#[cfg(test)]
mod pushing;
#[cfg(test)]
mod signatures;
