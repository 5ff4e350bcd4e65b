//! Somebody writes control sequences for terminals into what others look at.

use std::fs;

use super::nothing_shown::{folder, signer, text};
use crate::site::{sealwire, succeeds};

/// The title of the window, a line that looks like one of ours, text that runs backwards.
const HOSTILE: &str = "\u{1b}]0;mine\u{7}\n  ok  all of it holds \u{202e}sdloh";
const SHOWN: &str = r"\u{1b}]0;mine\u{7}\n  ok  all of it holds \u{202e}sdloh";

/// The words are printed, and have no other effect.
#[track_caller]
fn shows(printed: &str) {
    assert!(printed.contains(SHOWN), "{printed:?}");
    let shows_itself = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
    assert!(printed.chars().all(shows_itself), "{printed:?}");
}

#[test]
fn what_others_wrote_gives_no_order_to_a_terminal() {
    let folder = folder(1);
    let bundle = folder.path().join("bundle");
    let vkey = signer().vkey().to_string();
    let verify = ["verify", "bundle", text(&bundle), "--vkey", &vkey];
    succeeds(&["export", "--data-dir", text(folder.path()), "--output", text(&bundle)]);
    // No signature covers the name of the exporter.
    let whole = fs::read_to_string(&bundle).unwrap();
    let (before, rest) = whole.split_once(r#""exported_by":""#).unwrap();
    let (_program, after) = rest.split_once('"').unwrap();
    let hostile = serde_json::to_string(HOSTILE).unwrap();
    fs::write(&bundle, format!(r#"{before}"exported_by":{hostile}{after}"#)).unwrap();
    shows(&succeeds(&verify));

    // An error names its subject.
    let none = folder.path().join(HOSTILE);
    let (code, printed, said) = sealwire(&["verify", "bundle", text(&none), "--vkey", &vkey]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    shows(&said);
}
