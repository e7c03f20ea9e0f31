//! The caller, as a handler argument. Handlers take it before the body, so an unauthorised caller is refused before the body
//! is read.

use super::{Problem, note_caller};
use crate::error::Error;
use crate::identity::keys::Authenticator;
use crate::identity::{Caller, User};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::sync::Arc;

/// The caller, identified by a bearer token (RFC 6750). Anonymous without an `Authorization` header.
#[derive(Debug, Clone)]
pub struct Bearer(pub Caller);

impl<S> FromRequestParts<S> for Bearer
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            note_caller(Caller::Anonymous.kind());
            return Ok(Self(Caller::Anonymous));
        };
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .map(|(scheme, token)| (scheme, token.trim_start_matches(' ')))
            .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .map(|(_, token)| token)
            .ok_or(Error::Unauthenticated(
                "The Authorization header is malformed. Send Authorization: Bearer <access token>.",
            ))?;
        let caller = Arc::<Authenticator>::from_ref(state).caller(token).await?;
        note_caller(caller.kind());
        Ok(Self(caller))
    }
}

/// An admin. A handler with this argument accepts admins only.
#[derive(Debug, Clone)]
pub struct Admin(pub User);

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Bearer(caller) = Bearer::from_request_parts(parts, state).await?;
        Ok(Self(caller.require_admin()?.clone()))
    }
}
