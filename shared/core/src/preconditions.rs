//! Conditional requests (RFC 9110 section 13): entity tags from record versions, and the two headers that carry them.
//!
//! A tag names what one caller sees: the version, and whether hidden fields were left out (R86).

use crate::error::Error;
use crate::id;

/// The strong entity tag of a version as this kind of caller sees it.
pub fn etag(version: u64, whole: bool) -> String {
    if whole { format!("\"{version}\"") } else { format!("\"{version}-v\"") }
}

/// The tag of an answer that holds more than the one record: the record's version, which `If-Match` takes, and a mark of all
/// that was shown, so that a client whose other records are old is not told that nothing has changed.
pub fn etag_of(version: u64, whole: bool, shown: &[u8]) -> String {
    let mark: String = id::sha256(shown).chars().filter(char::is_ascii_alphanumeric).take(MARK).collect();
    format!("{}-{mark}\"", etag(version, whole).trim_end_matches('"'))
}

/// How long the mark of an answer is.
const MARK: usize = 16;

/// `If-Match`: do it only if what is there is what I know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// The header was not sent.
    Absent,
    /// `*`: anything, as long as it exists.
    Any,
    /// One of these versions.
    Versions(Vec<u64>),
}

/// `If-None-Match`: do it only if what is there is not what I know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// The header was not sent.
    Absent,
    /// `*`: only if nothing exists.
    Any,
    /// None of these tags, compared weakly.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether the header was sent.
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
    /// Whether the caller already has the answer with this tag.
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|known| known == tag),
        }
    }
}

/// The conditions of a request that writes, as RFC 9110 section 13.2.2 orders them: `If-Match` first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preconditions {
    /// What is there must be this.
    pub if_match: IfMatch,
    /// What is there must not be this.
    pub if_none_match: IfNoneMatch,
}

impl Preconditions {
    /// No condition at all.
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

    /// Holds them against what there is to write over: a version, or nothing.
    ///
    /// # Errors
    /// `PreconditionFailed` when one of them does not hold.
    pub fn hold(&self, found: Option<u64>) -> Result<(), Error> {
        let holds = found.map_or(!self.if_match.is_sent(), |version| self.allow(version));
        if holds { Ok(()) } else { Err(FAILED) }
    }

    /// Holds them against what is there to be read, in the order of RFC 9110 section 13.2.2, and says whether the caller has it
    /// already.
    ///
    /// # Errors
    /// `PreconditionFailed` when `If-Match` does not hold.
    pub fn hold_read(&self, version: u64, tag: &str) -> Result<bool, Error> {
        if self.if_match.allows(version) { Ok(self.if_none_match.matches(tag)) } else { Err(FAILED) }
    }

    /// The versions that `If-None-Match` names.
    pub fn unwanted_versions(&self) -> Vec<u64> {
        match &self.if_none_match {
            IfNoneMatch::Tags(tags) => tags.iter().filter_map(|tag| version(tag)).collect(),
            IfNoneMatch::Absent | IfNoneMatch::Any => Vec::new(),
        }
    }

    /// Whether the client has said which version it means: writing again on what somebody else has left would lose their
    /// update.
    pub fn name_a_version(&self) -> bool {
        self.if_match.is_sent() || self.if_none_match != IfNoneMatch::Absent
    }
}

const FAILED: Error = Error::PreconditionFailed(
    "what is there is not what If-Match asks for, or is what If-None-Match rules out: read it again",
);

impl From<Option<Tags>> for IfMatch {
    fn from(tags: Option<Tags>) -> Self {
        match tags {
            None => Self::Absent,
            Some(Tags::Any) => Self::Any,
            // A weak tag never matches strongly, nor does a tag that is not ours: they leave no version that could match.
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
    /// The conditions in the values of two headers, or in the two members of a batch's operation that are written as they would
    /// be. Each comes with its name, for the error.
    ///
    /// # Errors
    /// `BadRequest` when a text is neither `*` nor entity tags.
    pub fn parse(if_match: (&str, Option<&str>), if_none_match: (&str, Option<&str>)) -> Result<Self, Error> {
        let read = |(name, text): (&str, Option<&str>)| text.map_or(Ok(None), |text| parse(text, name));
        Ok(Self { if_match: read(if_match)?.into(), if_none_match: read(if_none_match)?.into() })
    }
}

/// Most entity tags in one header: each becomes an operand of the write's condition.
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
                return Err(Error::bad_request("entity_tag", format!("{name} holds at most {MAX_TAGS} entity tags")));
            }
            if well_formed {
                Ok(Some(Tags::Listed(tags)))
            } else {
                Err(Error::bad_request(
                    "entity_tag",
                    format!("{name} holds * or entity tags in double quotes, as ETag gave them"),
                ))
            }
        }
    }
}

/// The version in a tag of ours.
fn version(tag: &str) -> Option<u64> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let marked = tag.rsplit_once('-').filter(|(_, mark)| mark.len() == MARK);
    let tag = marked.map_or(tag, |(tag, _)| tag);
    let digits = tag.strip_suffix("-v").unwrap_or(tag);
    let version: u64 = digits.parse().ok()?;
    // Tags are compared character by character: another spelling of the number is another tag.
    (version.to_string() == digits).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_ours_holds_its_version_and_no_other_does() {
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
