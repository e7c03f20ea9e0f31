//! The canonical form of an email address (R80). Every route uses it, so two spellings never become two accounts.

use crate::error::{Error, Result};

/// Maximum length of an address (RFC 5321 section 4.5.3.1.3, less the angle brackets).
pub const MAX_EMAIL_BYTES: usize = 254;

/// A syntactically plain, canonical address: ASCII, lower case, one `@`, a dotted domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Parses an address. Lowers letters and changes nothing else: dots and `+tags` stay, because only the provider knows
    /// their meaning.
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
                "This is not an email address. Use the form name@example.com in ASCII.",
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
        // A numeric top-level domain is an IP address.
        && labels.last().is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_address_become_one() {
        for typed in ["Ada@Example.com", "ADA@EXAMPLE.COM", "ada@example.com"] {
            assert_eq!(Email::parse(typed).expect("valid").as_str(), "ada@example.com");
        }
    }

    #[test]
    fn an_international_domain_is_accepted_only_in_its_ascii_form() {
        assert_eq!(Email::parse("Ada@XN--Exmple-Cua.com").expect("valid").as_str(), "ada@xn--exmple-cua.com");
        assert!(Email::parse("ada@ex\u{e4}mple.com").is_err(), "one address has only one spelling");
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(typed in "[A-Za-z0-9.+_'-]{1,12}@[A-Za-z0-9.-]{1,16}") {
            if let Ok(email) = Email::parse(&typed) {
                prop_assert_eq!(&Email::parse(email.as_str()).expect("still valid"), &email);
                prop_assert_eq!(Email::parse(&typed.to_ascii_uppercase()).expect("another spelling"), email);
            }
        }

        #[test]
        fn a_non_ascii_address_is_refused(before in "[a-z]{0,4}", strange in "[^\\x00-\\x7f]", after in "[a-z]{0,4}") {
            for typed in [
                format!("{before}{strange}{after}@example.com"),
                format!("ada@{before}{strange}{after}.com"),
                format!("ada@example.com{strange}"),
            ] {
                prop_assert!(Email::parse(&typed).is_err(), "{}", typed);
            }
        }
    }

    #[test]
    fn unmailable_and_ambiguous_addresses_are_refused() {
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
            "ada@example.com..",
            "ada@.example.com",
            "ada@example..com",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "ada@example.com\u{3002}",
            "ada@example\u{ff0e}com",
            "ada@example\u{3002}com",
            "ada@\u{ff45}xample.com",
            "ada@example.co\u{212a}",
            "ad\u{e1}@example.com",
            "ada@ex\u{e4}mple.com",
            "ada\u{ff20}example.com",
            "ada\u{200b}@example.com",
            "ada@exam\u{ad}ple.com",
            "\u{130}da@example.com",
            "\u{17f}am@example.com",
            "ada@example.com\0",
            " ada@example.com",
            "ada@example.com ",
            "\"ada\"@example.com",
            "ada(comment)@example.com",
            "ada@example.com,bob@example.com",
        ] {
            assert!(Email::parse(typed).is_err(), "{typed:?}");
        }
    }
}
