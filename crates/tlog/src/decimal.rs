//! Decimal numbers as every C2SP text format writes them: ASCII digits, no leading zeros.

/// Parses a canonical decimal number; `None` if `text` is anything else.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    // `u64::from_str` alone would also take a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn takes_one_spelling_of_a_number() {
        for (text, expected) in [
            ("0", Some(0)),
            ("70000", Some(70_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None), // one too many
            ("", None),
            ("00", None),
            ("007", None),
            ("+7", None),
            ("-7", None),
            (" 7", None),
            ("٧", None), // a digit, but not an ASCII one
        ] {
            assert_eq!(parse_decimal(text), expected, "`{text}`");
        }
    }
}
