//! The refusals that follow from the policy and the inputs of a route, and the description of each status.

use std::collections::BTreeSet;
use undercroft::routes::{Policy, Route};

/// Status codes of refusals, each with its name in the document and its general reason.
const REFUSALS: [(u16, &str, &str); 14] = [
    (
        400,
        "BadRequest",
        "The request is malformed, has a parameter or precondition that the route does not take, or has the member errors in \
         `errors`.",
    ),
    (401, "Unauthenticated", "The credentials are missing or invalid."),
    (403, "Forbidden", "The caller is known but not allowed to do this."),
    (404, "NotFound", "It does not exist, or the caller may not see it; the answer is the same."),
    (409, "Conflict", "The current state does not allow it, or a request with the same key is in progress."),
    (410, "Gone", "It existed but is no longer kept."),
    (412, "PreconditionFailed", "`If-Match` or `If-None-Match` does not hold."),
    (413, "TooLarge", "The body is larger than 1 MiB."),
    (
        415,
        "UnsupportedMediaType",
        "The body has a media type that the header `Accept` of this answer does not name, a charset other than UTF-8, or a \
         `Content-Encoding`.",
    ),
    (
        422,
        "Refused",
        "The request is valid but refused, for example a key used for another request or an answer larger than Lambda's \
         maximum. The problem says what to do.",
    ),
    (428, "PreconditionRequired", "`If-Match` or `If-None-Match` is required."),
    (500, "Internal", "The server failed. The logs have the cause under the request id."),
    (501, "NotBuilt", "This route is part of the design and not built yet."),
    (
        503,
        "Unavailable",
        "Try again: nothing was done, or it is safe to repeat. After `outcome_unknown`, read the record first.",
    ),
];

/// The refusals of these routes with their general reason: status, name, reason.
pub fn among(
    routes: &[Route],
    is_common: impl Fn(&Route, u16) -> bool,
) -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    let all = routes.iter().flat_map(|route| of(route).into_iter().map(move |(status, _)| (route, status)));
    let used: BTreeSet<u16> =
        all.filter(|(route, status)| is_common(route, *status)).map(|(_, status)| status).collect();
    REFUSALS.into_iter().filter(move |(status, ..)| used.contains(status))
}

/// The name of a status.
pub fn name(status: u16) -> &'static str {
    REFUSALS.iter().find(|(known, ..)| *known == status).map_or("Internal", |(_, name, _)| name)
}

/// The general reason for a status.
pub fn reason(status: u16) -> &'static str {
    REFUSALS.iter().find(|(known, ..)| *known == status).map_or("", |(.., reason)| reason)
}

/// Headers of a refusal in addition to those of every answer.
pub fn headers(status: u16) -> &'static [&'static str] {
    match status {
        401 => &["WWW-Authenticate"],
        415 => &["Accept", "Accept-Encoding"],
        503 => &["Retry-After"],
        _ => &[],
    }
}

/// The refusals of a route, each with the route's own reason if it has one.
pub fn of(route: &Route) -> Vec<(u16, Option<&'static str>)> {
    let has = |name: &str| route.parameters.contains(&name);
    let mut found: Vec<(u16, Option<&'static str>)> = vec![(400, None), (500, None), (503, None)];
    let mut add = |applies: bool, statuses: &[u16]| {
        let statuses = statuses.iter().filter(|_| applies);
        found.extend(statuses.map(|status| (*status, None)));
    };
    add(!matches!(route.policy, Policy::Anyone), &[401]);
    add(route.policy == Policy::Admin, &[403]);
    add(matches!(route.policy, Policy::Rules(_)) || route.path.contains('{'), &[404]);
    add(has("IfMatch") || (has("IfNoneMatch") && !route.is_safe()), &[412]);
    add(route.body.is_some(), &[413, 415]);
    // An Idempotency-Key is used or refused, never ignored.
    add(has("IdempotencyKey"), &[409, 413, 422]);
    add(!route.is_safe() && !has("IdempotencyKey"), &[422]);
    // Answers that could exceed Lambda's maximum.
    add(route.is_safe() && (has("Limit") || route.path == "/v1/collections"), &[422]);
    for (status, reason) in &route.refusals {
        found.retain(|(known, _)| known != status);
        found.push((*status, Some(reason)));
    }
    found
}
