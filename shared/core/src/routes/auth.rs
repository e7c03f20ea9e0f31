//! The routes of the function `auth`: who is calling.

use super::route::Policy::{Anyone, Session, SignedIn};
use super::route::{Route, get, post};

/// Every route of `auth`.
pub fn auth() -> Vec<Route> {
    vec![
        post("/v1/auth/signup", "signUp", Anyone)
            .does("Starts a sign-up: a code goes out by mail.")
            .note("The answer is the same whatever the address, so that nobody learns who has an account. An address gets five mails at once, and one each ten minutes from then on; a sign-up beyond that is answered alike and mails nothing.")
            .reads("SignUp")
            .answers(202, "SignedUp", "A mail is on its way."),
        post("/v1/auth/verify", "verify", Anyone)
            .does("Spends the mailed code: the account exists from here on.")
            .note("A code is good for ten minutes and once. With signupToken it must be the code of that very sign-up, of which five different ones may be tried, and the account has the password that was signed up with. With password it may be any code that was mailed to the address, and the account has this password.")
            .reads("Verify")
            .answers(200, "Tokens", "Signed in."),
        post("/v1/auth/signin", "signIn", Anyone)
            .does("Begins a session.")
            .note("A wrong password, an unknown and an unverified address look the same and take as long.")
            .reads("SignIn")
            .answers(200, "Tokens", "Signed in.")
            .refuses(401, "No verified account has this address and password."),
        post("/v1/auth/refresh", "refresh", Anyone)
            .does("Exchanges a refresh token for its successor and a fresh access token.")
            .note("A spent token yields its successor for 30 seconds more; used later, it ends the session.")
            .reads("Refresh")
            .answers(200, "Tokens", "The same session, with new tokens.")
            .refuses(401, "The refresh token is not valid, or no longer."),
        post("/v1/auth/signout", "signOut", Session)
            .does("Ends the session of the access token, or of the refresh token in the body.")
            .may_read("SignOut")
            .answers_empty(204, "The session has ended."),
        get("/v1/auth/me", "me", SignedIn)
            .does("Who is signed in.")
            .note("Looks at the session itself, so it notices a sign-out at once.")
            .answers(200, "User", "The user."),
        get("/v1/auth/sessions", "listSessions", SignedIn)
            .does("Where the user is signed in, this session marked.")
            .answers(200, "SessionList", "The user's sessions, newest first, at most a hundred."),
        post("/v1/auth/reset", "resetPassword", Anyone).does("Resets a password.").not_built(),
        post("/v1/auth/magic", "magicLink", Anyone).does("Signs in by a mailed link.").not_built(),
        post("/v1/auth/totp", "totp", Anyone).does("A second factor by TOTP.").not_built(),
        post("/v1/auth/passkeys", "passkeys", Anyone).does("Signs in by passkey.").not_built(),
        post("/v1/auth/oidc", "oidc", Anyone).does("Signs in by OpenID Connect.").not_built(),
        post("/v1/auth/keys", "apiKeys", Anyone).does("Scoped API keys.").not_built(),
        get("/.well-known/jwks.json", "jwks", Anyone)
            .does("The public keys that verify access tokens (RFC 7517).")
            .answers(200, "Jwks", "The key set. May be cached for five minutes.")
            .with(&["Cache-Control"]),
    ]
}
