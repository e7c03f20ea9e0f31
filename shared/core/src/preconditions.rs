//! Conditional requests (RFC 9110 section 13): entity tags from record versions, and `If-Match` and `If-None-Match`.
//!
//! A tag identifies what one caller sees: the version, and whether hidden fields are left out (R86).

use crate::error::Error;
use crate::id;

/// The strong entity tag of a version for this kind of caller.
pub fn etag(version: u64, whole: bool) -> String {
    if whole { format!("\"{version}\"") } else { format!("\"{version}-v\"") }
}

/// The tag of a response with expanded records: the record's version, which `If-Match` compares, and a hash of the whole
/// body, so that a changed expanded record never yields 304.
pub fn etag_of(version: u64, whole: bool, shown: &[u8]) -> String {
    let mark: String = id::sha256(shown).chars().filter(char::is_ascii_alphanumeric).take(MARK).collect();
    format!("{}-{mark}\"", etag(version, whole).trim_end_matches('"'))
}

/// The length of that hash.
const MARK: usize = 16;

/// `If-Match`: do it only if the current version matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// The header is absent.
    Absent,
    /// `*`: any existing version.
    Any,
    /// One of these versions.
    Versions(Vec<u64>),
}

/// `If-None-Match`: do it only if the current version does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// The header is absent.
    Absent,
    /// `*`: only if nothing exists.
    Any,
    /// None of these tags, compared weakly.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether the header is present.
    pub fn is_sent(&self) -> bool {
        *self != Self::Absent
    }

    /// Whether a record of this version may be written.
    pub fn allows(&self, version: u64) -> bool {
        match self {
            Self::Absent | Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }
}

impl IfNoneMatch {
    /// Whether the caller already has the response with this tag.
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|known| known == tag),
        }
    }
}

/// The conditions of a write, in the order of RFC 9110 section 13.2.2: `If-Match` first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preconditions {
    /// The `If-Match` condition.
    pub if_match: IfMatch,
    /// The `If-None-Match` condition.
    pub if_none_match: IfNoneMatch,
}

impl Preconditions {
    /// No condition.
    pub const NONE: Self = Self { if_match: IfMatch::Absent, if_none_match: IfNoneMatch::Absent };

    /// Whether a record of this version may be written.
    pub fn allow(&self, version: u64) -> bool {
        let unwanted = match &self.if_none_match {
            IfNoneMatch::Absent => false,
            IfNoneMatch::Any => true,
            IfNoneMatch::Tags(_) => self.unwanted_versions().contains(&version),
        };
        self.if_match.allows(version) && !unwanted
    }

    /// Evaluates them against the current version, or none.
    ///
    /// # Errors
    /// `PreconditionFailed` when one of them is false.
    pub fn hold(&self, found: Option<u64>) -> Result<(), Error> {
        let holds = found.map_or(!self.if_match.is_sent(), |version| self.allow(version));
        if holds { Ok(()) } else { Err(FAILED) }
    }

    /// Evaluates them for a read, in the order of RFC 9110 section 13.2.2. Returns whether the caller already has the
    /// response.
    ///
    /// # Errors
    /// `PreconditionFailed` when `If-Match` is false.
    pub fn hold_read(&self, version: u64, tag: &str) -> Result<bool, Error> {
        if self.if_match.allows(version) { Ok(self.if_none_match.matches(tag)) } else { Err(FAILED) }
    }

    /// The versions in `If-None-Match`.
    pub fn unwanted_versions(&self) -> Vec<u64> {
        match &self.if_none_match {
            IfNoneMatch::Tags(tags) => tags.iter().filter_map(|tag| version(tag)).collect(),
            IfNoneMatch::Absent | IfNoneMatch::Any => Vec::new(),
        }
    }

    /// Whether the client states a version: a retry on top of another client's write would lose that write.
    pub fn name_a_version(&self) -> bool {
        self.if_match.is_sent() || self.if_none_match != IfNoneMatch::Absent
    }
}

const FAILED: Error =
    Error::PreconditionFailed("The current ETag does not satisfy If-Match or If-None-Match; read the record again.");

impl From<Option<Tags>> for IfMatch {
    fn from(tags: Option<Tags>) -> Self {
        match tags {
            None => Self::Absent,
            Some(Tags::Any) => Self::Any,
            // A weak tag never matches in a strong comparison, and a foreign tag never matches: neither yields a version.
            Some(Tags::Listed(tags)) => Self::Versions(tags.iter().filter_map(|tag| version(tag)).collect()),
        }
    }
}

impl From<Option<Tags>> for IfNoneMatch {
    fn from(tags: Option<Tags>) -> Self {
        match tags {
            None => Self::Absent,
            Some(Tags::Any) => Self::Any,
            Some(Tags::Listed(tags)) => {
                Self::Tags(tags.iter().map(|tag| tag.trim_start_matches("W/").to_owned()).collect())
            }
        }
    }
}

impl Preconditions {
    /// The conditions in two header values, or in the equivalent members of a batch operation. Each comes with its name, for
    /// errors.
    ///
    /// # Errors
    /// `BadRequest` when a text is neither `*` nor a list of entity tags.
    pub fn parse(if_match: (&str, Option<&str>), if_none_match: (&str, Option<&str>)) -> Result<Self, Error> {
        let read = |(name, text): (&str, Option<&str>)| text.map_or(Ok(None), |text| parse(text, name));
        Ok(Self { if_match: read(if_match)?.into(), if_none_match: read(if_none_match)?.into() })
    }
}

/// Maximum number of entity tags in one header: each becomes an operand of the write condition.
const MAX_TAGS: usize = 20;

enum Tags {
    Any,
    Listed(Vec<String>),
}

fn parse(text: &str, name: &str) -> Result<Option<Tags>, Error> {
    match text.trim() {
        "*" => Ok(Some(Tags::Any)),
        listed => {
            let tags: Vec<String> = listed.split(',').map(|tag| tag.trim().to_owned()).collect();
            let well_formed = tags.iter().all(|tag| {
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
            });
            if tags.len() > MAX_TAGS {
                return Err(Error::bad_request(
                    "entity_tag",
                    format!("{name} accepts at most {MAX_TAGS} entity tags; send fewer."),
                ));
            }
            if well_formed {
                Ok(Some(Tags::Listed(tags)))
            } else {
                Err(Error::bad_request(
                    "entity_tag",
                    format!("{name} must be * or entity tags in double quotes, as received in ETag."),
                ))
            }
        }
    }
}

/// The version in one of our tags.
fn version(tag: &str) -> Option<u64> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let marked = tag.rsplit_once('-').filter(|(_, mark)| mark.len() == MARK);
    let tag = marked.map_or(tag, |(tag, _)| tag);
    let digits = tag.strip_suffix("-v").unwrap_or(tag);
    let version: u64 = digits.parse().ok()?;
    // Tags are compared character by character, so another spelling of the number is a different tag.
    (version.to_string() == digits).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_tags_contain_a_version() {
        for whole in [true, false] {
            assert_eq!(version(&etag(7, whole)), Some(7));
            assert_eq!(version(&etag_of(7, whole, b"{}")), Some(7));
            assert_ne!(etag_of(7, whole, b"{}"), etag_of(7, whole, b"[]"));
        }
        for other in ["\"7-w\"", "\"7-\"", "\"7-x-0123456789abcdef\"", "\"-0123456789abcdef\"", "W/\"7\"", "7"] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
