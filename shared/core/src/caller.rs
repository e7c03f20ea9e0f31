//! Who sends a request, according to a verified token.

use crate::error::{Error, Result};

/// The role that permits everything.
pub const ADMIN: &str = "admin";

/// The caller. Built from a verified token, never from a body, a query or a header (R71).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Not signed in.
    Anonymous,
    /// A signed-in account.
    User(User),
}

/// A signed-in account, as its access token describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// UUIDv7 of the account.
    pub id: String,
    /// UUIDv7 of the session the token belongs to.
    pub session: String,
    /// Canonical address.
    pub email: String,
    /// Whether the address is verified.
    pub verified: bool,
    /// Roles held when the token was issued.
    pub roles: Vec<String>,
}

impl User {
    /// Whether the account holds the admin role.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == ADMIN)
    }
}

impl Caller {
    /// The account's id, empty for an anonymous caller. Rules have no `auth.id` then.
    pub fn id(&self) -> &str {
        match self {
            Self::Anonymous => "",
            Self::User(user) => &user.id,
        }
    }

    /// Whether the caller holds the admin role.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User(user) if user.is_admin())
    }

    /// The admin who calls.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody has signed in, `Forbidden` to everybody else.
    pub fn require_admin(&self) -> Result<&User> {
        match self {
            Self::Anonymous => Err(Error::Unauthenticated("Only admins may send this request. Sign in as an admin.")),
            Self::User(user) if user.is_admin() => Ok(user),
            Self::User(_) => Err(Error::Forbidden("Only admins may send this request.".into())),
        }
    }

    /// For log lines: the kind of caller, never an id.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User(_) if self.is_admin() => "admin",
            Self::User(_) => "user",
        }
    }
}
