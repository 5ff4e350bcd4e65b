//! Where the salts of envelopes come from.

use std::io;

/// A source of salts.
#[derive(Debug)]
pub(crate) enum Salts {
    /// The operating system's random numbers.
    System,
    /// Numbers that follow from a seed, which anyone can guess: the SHA-256 of the seed and of the
    /// number of the draw. For simulations alone.
    #[cfg(feature = "simulation")]
    Seeded { seed: u64, drawn: u64 },
}

impl Salts {
    /// Draws as many salts as `salts` holds.
    #[cfg_attr(
        not(feature = "simulation"),
        expect(clippy::needless_pass_by_ref_mut, reason = "only numbers from a seed change it")
    )]
    pub(crate) fn draw(&mut self, salts: &mut [[u8; 16]]) -> io::Result<()> {
        match self {
            Self::System => getrandom::fill(salts.as_flattened_mut()).map_err(io::Error::other),
            #[cfg(feature = "simulation")]
            Self::Seeded { seed, drawn } => {
                for salt in salts {
                    *drawn += 1;
                    let text = format!("{seed} {drawn}");
                    let hash = tlog::Hash::sha256(text.as_bytes());
                    salt.copy_from_slice(hash.as_bytes().first_chunk::<16>().expect("it has 32"));
                }
                Ok(())
            }
        }
    }
}
