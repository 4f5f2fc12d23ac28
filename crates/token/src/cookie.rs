//! Names of the cookies, the same for the api that sets them and the broker that reads them.
//!
//! Owns: names. Never does: attributes (the api sets them). Talks to: nobody. Start reading at: [`access`].

/// The access cookie: `__Host-` over https; plain on http localhost, where some browsers refuse the prefix.
pub const fn access(secure: bool) -> &'static str {
    if secure { "__Host-webchat_access" } else { "webchat_access" }
}

/// The refresh cookie; its path is `/api/auth`, so that it goes nowhere else.
pub const fn refresh(secure: bool) -> &'static str {
    if secure { "__Secure-webchat_refresh" } else { "webchat_refresh" }
}

/// Picks one cookie out of a `Cookie` header.
pub fn find<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}
