//! Tiles: a path on the first line, which is formatted back unchanged, and the hashes after it.

use tlog::{TilePath, decode_hashes, encode_hashes};

pub(crate) fn run(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (path, rest) = bytes.split_at(end);
    let Ok(path) = str::from_utf8(path) else { return };
    let Ok(parsed) = TilePath::parse(path) else { return };
    assert_eq!(parsed.to_string(), path);
    let hashes = rest.get(1..).unwrap_or_default();
    if let TilePath::Hashes(tile) = parsed
        && let Ok(decoded) = decode_hashes(tile.width, hashes)
    {
        assert_eq!(encode_hashes(&decoded), hashes);
    }
}
