//! The one canonical form of an email address (R80). Every door uses it, so two spellings never become two accounts.

use crate::error::{Error, Result};

/// Longest address accepted (RFC 5321 section 4.5.3.1.3, less the angle brackets).
pub const MAX_EMAIL_BYTES: usize = 254;

/// A syntactically plain, canonical address: ASCII, lower case, one `@`, a dotted domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Parses what a person typed. Letters are lowered; nothing else is guessed: dots and `+tags` stay, because only the
    /// provider knows what they mean.
    ///
    /// # Errors
    /// `Invalid` at `/email` when it is not an address this system can send to.
    pub fn parse(text: &str) -> Result<Self> {
        let well_formed = text.len() <= MAX_EMAIL_BYTES
            && text.is_ascii()
            && text.split_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain));
        if !well_formed {
            return Err(Error::field(
                "/email",
                "email",
                "not an email address: use the form name@example.com in ASCII",
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local_part(local: &str) -> bool {
    (1..=64).contains(&local.len())
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
}

fn is_domain(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_become_one() {
        for typed in ["Ada@Example.com", "ADA@EXAMPLE.COM", "ada@example.com"] {
            assert_eq!(Email::parse(typed).expect("valid").as_str(), "ada@example.com");
        }
    }

    #[test]
    fn what_cannot_be_mailed_or_could_be_confused_is_refused() {
        for typed in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "ada@@example.com",
            "ada@example.com.",
            "a da@example.com",
            "ada@exam\u{131}ple.com",
            "\u{ff41}da@example.com",
            "ada@example.com\r\nBcc: x@example.com",
            ".ada@example.com",
            "a..da@example.com",
            "ada@-example.com",
            "<ada@example.com>",
        ] {
            assert!(Email::parse(typed).is_err(), "{typed:?}");
        }
    }
}
