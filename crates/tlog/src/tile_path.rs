//! Paths of tiles and entry bundles, both below a log's URL prefix and on disk.
//!
//! C2SP tlog-tiles, APIs: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`. `<N>` is split
//! into groups of three digits, and an `x` precedes each group but the last. Each tile has one
//! path. The parser refuses every other spelling, so caches and file systems need not know them.

use alloc::string::String;
use core::fmt;
use core::num::NonZeroU8;
use core::str::FromStr;

use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::tile::{BundleId, TileId, TileLevel, TileWidth};

/// The file that a path below `tile/` names.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TilePath {
    /// A tile: `tile/<L>/<N>[.p/<W>]`.
    Hashes(TileId),
    /// An entry bundle: `tile/entries/<N>[.p/<W>]`.
    Entries(BundleId),
}

impl TilePath {
    /// Parses a path relative to the log's prefix, without a leading slash.
    ///
    /// # Errors
    /// The path names no tile and no bundle, or is not in canonical form.
    pub fn parse(path: &str) -> Result<Self, ParseTilePathError> {
        let refused = |make: fn(String) -> ParseTilePathError| move || make(excerpt(path));
        let (level, rest) = path
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(refused(|path| ParseTilePathError::Shape { path }))?;
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TileWidth::Full),
            Some((index, width)) => {
                let width = parse_partial(width)
                    .ok_or_else(refused(|path| ParseTilePathError::Width { path }))?;
                (index, width)
            }
        };
        let index =
            parse_index(index).ok_or_else(refused(|path| ParseTilePathError::Index { path }))?;
        if level == "entries" {
            return Ok(Self::Entries(BundleId { index, width }));
        }
        let level =
            parse_level(level).ok_or_else(refused(|path| ParseTilePathError::Level { path }))?;
        Ok(Self::Hashes(TileId { level, index, width }))
    }
}

impl FromStr for TilePath {
    type Err = ParseTilePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Self::parse(path)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level.get())?;
        write_index(f, self.index)?;
        write_partial(f, self.width)
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_index(f, self.index)?;
        write_partial(f, self.width)
    }
}

/// Why a path does not name a tile or a bundle in canonical form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseTilePathError {
    /// The path does not begin with `tile/` and a level or `entries`.
    #[error("`{path}` is not a tile: use `tile/<level>/<index>` or `tile/entries/<index>`")]
    Shape {
        /// The beginning of the path.
        path: String,
    },
    /// The level is invalid.
    #[error("`{path}` has no valid tile level: use 0 to 63 without leading zeros, or `entries`")]
    Level {
        /// The beginning of the path.
        path: String,
    },
    /// The index is invalid or not in canonical form.
    #[error(
        "`{path}` has no valid tile index: use as few groups of three digits as possible, with an `x` before all but the last, e.g. `x001/x234/067`"
    )]
    Index {
        /// The beginning of the path.
        path: String,
    },
    /// The width of a partial tile is invalid.
    #[error("`{path}` has no valid width of a partial tile: use 1 to 255 without leading zeros")]
    Width {
        /// The beginning of the path.
        path: String,
    },
}

fn parse_level(text: &str) -> Option<TileLevel> {
    let level = u8::try_from(parse_decimal(text)?).ok()?;
    TileLevel::new(level).ok()
}

fn parse_partial(text: &str) -> Option<TileWidth> {
    let count = u8::try_from(parse_decimal(text)?).ok()?;
    NonZeroU8::new(count).map(TileWidth::Partial)
}

fn parse_index(text: &str) -> Option<u64> {
    if text.starts_with("x000") {
        return None;
    }
    let (upper, last) = match text.rsplit_once('/') {
        Some((upper, last)) => (Some(upper), last),
        None => (None, text),
    };
    let mut index = 0_u64;
    for group in upper.into_iter().flat_map(|upper| upper.split('/')) {
        index = parse_group(index, group.strip_prefix('x')?)?;
    }
    parse_group(index, last)
}

fn parse_group(before: u64, group: &str) -> Option<u64> {
    if group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    before.checked_mul(1000)?.checked_add(group.parse().ok()?)
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    /// 1000^6; there are seven groups of three in the twenty digits of `u64::MAX`.
    const HIGHEST: u64 = 1_000_000_000_000_000_000;
    let mut divisor = HIGHEST;
    while divisor > 1 {
        if index >= divisor {
            write!(f, "x{:03}/", index / divisor % 1000)?;
        }
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)
}

fn write_partial(f: &mut fmt::Formatter<'_>, width: TileWidth) -> fmt::Result {
    match width {
        TileWidth::Partial(count) => write!(f, ".p/{count}"),
        TileWidth::Full => Ok(()),
    }
}
