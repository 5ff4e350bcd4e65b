//! What `chronyc` and `timedatectl` say of the machine's clock. Parses their answers; who asks is
//! not decided here.

/// Whether a time server sets the machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Synchronised {
    /// `None` if nobody could say.
    pub is_synchronised: Option<bool>,
    /// By how many seconds the clock is ahead of the time server, as far as it is known.
    pub offset_s: Option<f64>,
    /// Who said it.
    pub source: Option<Source>,
}

/// A program that knows whether the clock is synchronised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// chrony's own.
    Chronyc,
    /// systemd's, which knows what the kernel was told, whoever sets the clock.
    Timedatectl,
}

impl Source {
    /// All, the one that says most first.
    pub const ALL: [Self; 2] = [Self::Chronyc, Self::Timedatectl];

    /// Name of the program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Chronyc => "chronyc",
            Self::Timedatectl => "timedatectl",
        }
    }

    /// Arguments with which it answers in a form for programs.
    #[must_use]
    pub const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Chronyc => &["-c", "-n", "tracking"],
            Self::Timedatectl => &["show", "--property=NTPSynchronized"],
        }
    }

    /// Reads its answer; `None` if it says nothing of the clock.
    #[must_use]
    pub fn read(self, answer: &str) -> Option<Synchronised> {
        match self {
            Self::Chronyc => {
                let fields: Vec<&str> = answer.trim().split(',').collect();
                // Reference id, name, stratum, reference time, system time, last offset, RMS
                // offset, frequency, residual frequency, skew, root delay, root dispersion, update
                // interval, leap status.
                let [_, _, _, _, offset, .., leap] = fields.as_slice() else { return None };
                if fields.len() != 14 {
                    return None;
                }
                let is_synchronised = *leap != "Not synchronised";
                // chrony counts what the clock is behind as positive.
                let offset = offset.parse::<f64>().ok().filter(|offset| offset.is_finite())?;
                Some(Synchronised {
                    is_synchronised: Some(is_synchronised),
                    offset_s: is_synchronised.then_some(0.0 - offset),
                    source: Some(self),
                })
            }
            Self::Timedatectl => {
                let said = answer.trim().strip_prefix("NTPSynchronized=")?;
                let is_synchronised = match said {
                    "yes" => true,
                    "no" => false,
                    _ => return None,
                };
                Some(Synchronised {
                    is_synchronised: Some(is_synchronised),
                    offset_s: None,
                    source: Some(self),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_programs_are_read() {
        use Source::{Chronyc, Timedatectl};
        for (source, answer, synchronised, offset) in [
            (
                Chronyc,
                "A29FC87B,162.159.200.123,4,1716544671.152417013,\
                 0.000012034,0.000022175,0.000103540,-12.214,0.001,0.034,0.012345678,0.000712345,1030.4,Normal\n",
                Some(true),
                Some(-0.000_012_034),
            ),
            (
                Chronyc,
                "A29FC87B,162.159.200.123,4,1716544671.152417013,\
                 -0.250000000,0.0,0.0,-12.2,0.0,0.0,0.0,0.0,64.0,Insert second\n",
                Some(true),
                Some(0.25),
            ),
            (
                Chronyc,
                "00000000,,0,0.000000000,\
                 0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n",
                Some(false),
                None,
            ),
            (Timedatectl, "NTPSynchronized=yes\n", Some(true), None),
            (Timedatectl, "NTPSynchronized=no\n", Some(false), None),
        ] {
            let read = source.read(answer).unwrap();
            assert_eq!((read.is_synchronised, read.offset_s), (synchronised, offset), "{answer}");
            assert_eq!(read.source, Some(source));
        }
        for (source, answer) in [
            (Chronyc, ""),
            (Chronyc, "506 Cannot talk to daemon\n"),
            (Chronyc, "a,b,c,d,e,f,g,h,i,j,k,l,m,Normal"),
            (Chronyc, "a,b,c,d,1,Normal"),
            (Timedatectl, ""),
            (Timedatectl, "NTPSynchronized=maybe"),
            (Timedatectl, "System has not been booted with systemd as init system (PID 1)."),
        ] {
            assert_eq!(source.read(answer), None, "{answer}");
        }
    }
}
