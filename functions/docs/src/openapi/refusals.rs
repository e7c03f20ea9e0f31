//! What a route refuses because of who may call and what it takes, and the words for each status.

use std::collections::BTreeSet;
use undercroft::routes::{Policy, Route};

/// A status that is a refusal: its name in the document, and why in general.
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
        "The body has a media type that the header `Accept` of this answer does not name, or a charset other than UTF-8.",
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
    (503, "Unavailable", "Try again: nothing was done, or it is safe to repeat."),
];

/// Every refusal that one of these routes has as most routes have it: status, name, reason.
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

/// Why there is this status in general.
pub fn reason(status: u16) -> &'static str {
    REFUSALS.iter().find(|(known, ..)| *known == status).map_or("", |(.., reason)| reason)
}

/// Headers a refusal has besides those of every answer.
pub fn headers(status: u16) -> &'static [&'static str] {
    match status {
        401 => &["WWW-Authenticate"],
        415 => &["Accept"],
        503 => &["Retry-After"],
        _ => &[],
    }
}

/// The statuses a route refuses with, each with its own reason where it has one.
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
    // A key is kept, or refused rather than ignored.
    add(has("IdempotencyKey"), &[409, 413, 422]);
    add(!route.is_safe() && !has("IdempotencyKey"), &[422]);
    // What could be larger than Lambda carries.
    add(route.is_safe() && (has("Limit") || route.path == "/v1/collections"), &[422]);
    for (status, reason) in &route.refusals {
        found.retain(|(known, _)| known != status);
        found.push((*status, Some(reason)));
    }
    found
}
