//! The quick look at an answer that is plainly good, which nearly all are: a tenth of the cost of reading
//! its structure. Must never say yes where the structure could say no to an error: whatever it isn't sure
//! of is left to the thorough look.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};
use serde::Deserialize as _;

use super::{Usage, UsageObject, usage};

/// Every shape of an error that is known has this word, as a name or as a value. Quotes inside strings are
/// escaped, so that neither this nor the next is ever part of what a model said.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""error""#));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""usage""#));
static LAST_USAGE: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(br#""usage""#));

/// The usage of an answer in braces that mentions no error and tells its usage once; `None`: look
/// thoroughly.
pub(super) fn glance(bytes: &[u8]) -> Option<Usage> {
    let bytes = bytes.trim_ascii();
    let is_object = bytes.starts_with(b"{") && bytes.ends_with(b"}");
    if !is_object || ERROR.find(bytes).is_some() {
        return None;
    }
    // The usage stands near the end: looked for from there, and once more for a second one.
    let at = LAST_USAGE.rfind(bytes)?;
    let (before, after) = bytes.split_at_checked(at)?;
    if USAGE.find(before).is_some() {
        return None;
    }
    let value = after.strip_prefix(br#""usage""#)?.trim_ascii_start();
    let value = value.strip_prefix(b":")?;
    let mut reader = serde_json::Deserializer::from_slice(value);
    usage(&UsageObject::deserialize(&mut reader).ok()?)
}
