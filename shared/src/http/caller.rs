//! Who calls, as a handler's argument. It stands before the body: a stranger is refused before anything they sent is read.

use super::note_caller;
use crate::error::Error;
use crate::identity::keys::Authenticator;
use crate::identity::{Caller, User};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::sync::Arc;

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Error;

    /// Anonymous without an `Authorization` header; with one, it must hold a valid bearer token (RFC 6750).
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            note_caller(Caller::Anonymous.kind());
            return Ok(Caller::Anonymous);
        };
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .map(|(_, token)| token)
            .ok_or(Error::Unauthenticated("send Authorization: Bearer <access token>"))?;
        let caller = Arc::<Authenticator>::from_ref(state).caller(token).await?;
        note_caller(caller.kind());
        Ok(caller)
    }
}

/// An admin. A handler that asks for one is for admins only.
#[derive(Debug, Clone)]
pub struct Admin(pub User);

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Caller::from_request_parts(parts, state).await? {
            Caller::Anonymous => Err(Error::Unauthenticated("sign in as an admin")),
            Caller::User(user) if user.is_admin() => Ok(Self(user)),
            Caller::User(_) => Err(Error::Forbidden("this is for admins")),
        }
    }
}
