//! The routes of the function `auth`: accounts, sign-in, sessions.

use super::route::Policy::{Anyone, Session, SignedIn};
use super::route::{Route, get, post};

/// Every route of `auth`.
pub fn auth() -> Vec<Route> {
    vec![
        post("/v1/auth/signup", "signUp", Anyone)
            .does("Starts a sign-up and mails a code.")
            .note(
                "The answer is the same for every address, so that it does not reveal who has an account. An address gets at \
                 most five mails at once, then one every ten minutes; further sign-ups get the same answer and no mail is \
                 sent.",
            )
            .reads("SignUp")
            .answers(202, "SignedUp", "The sign-up was accepted."),
        post("/v1/auth/verify", "verify", Anyone)
            .does("Verifies the mailed code and creates the account.")
            .note(
                "A code is valid once, for ten minutes. With `signupToken` the code must be that of the same sign-up, five \
                 different codes may be tried, and the account gets the password of the sign-up. With `password` any code \
                 mailed to the address is accepted, and the account gets this password.",
            )
            .reads("Verify")
            .answers(200, "Tokens", "Signed in."),
        post("/v1/auth/signin", "signIn", Anyone)
            .does("Signs in and starts a session.")
            .note("A wrong password, an unknown address and an unverified address get the same answer after the same time.")
            .reads("SignIn")
            .answers(200, "Tokens", "Signed in.")
            .refuses(401, "No verified account has this address and password."),
        post("/v1/auth/refresh", "refresh", Anyone)
            .does("Exchanges a refresh token for its successor and a fresh access token.")
            .note("For 30 seconds after the exchange, the old token returns the same new token; used later, it ends the session.")
            .reads("Refresh")
            .answers(200, "Tokens", "The same session, with new tokens.")
            .refuses(401, "The refresh token is invalid or expired."),
        post("/v1/auth/signout", "signOut", Session)
            .does("Ends the session of the access token, or of the refresh token in the body.")
            .may_read("SignOut")
            .answers_empty(204, "The session has ended."),
        get("/v1/auth/me", "me", SignedIn)
            .does("Reads the signed-in user.")
            .note("Reads the session, so a sign-out takes effect at once.")
            .answers(200, "User", "The user."),
        get("/v1/auth/sessions", "listSessions", SignedIn)
            .does("Lists the sessions of the user and marks the current one.")
            .answers(200, "SessionList", "The user's sessions, newest first, at most 100."),
        post("/v1/auth/reset", "resetPassword", Anyone).does("Resets a password.").not_built(),
        post("/v1/auth/magic", "magicLink", Anyone).does("Signs in by a mailed link.").not_built(),
        post("/v1/auth/totp", "totp", Anyone).does("Verifies a second factor by TOTP.").not_built(),
        post("/v1/auth/passkeys", "passkeys", Anyone).does("Signs in by passkey.").not_built(),
        post("/v1/auth/oidc", "oidc", Anyone).does("Signs in by OpenID Connect.").not_built(),
        post("/v1/auth/keys", "apiKeys", Anyone).does("Creates scoped API keys.").not_built(),
        get("/.well-known/jwks.json", "jwks", Anyone)
            .does("Reads the public keys that verify access tokens (RFC 7517).")
            .answers(200, "Jwks", "The key set. It may be cached for five minutes.")
            .with(&["Cache-Control"]),
    ]
}
