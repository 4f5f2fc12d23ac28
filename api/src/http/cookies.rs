//! The two cookies of a session (names: crates/token/src/cookie.rs).
//!
//! Owns: their attributes. Never does: make or verify tokens. Talks to: nobody. Start reading at: [`set`].

use axum::http::{HeaderMap, HeaderValue, header};
use token::cookie;

use crate::config::REFRESH_MS;

/// Sets both: the access cookie for the whole site, the refresh cookie for `/api/auth` alone.
pub(super) fn set(headers: &mut HeaderMap, secure: bool, access: &str, refresh: Option<&str>) {
    let seconds = token::claims::ACCESS_SECONDS;
    append(headers, secure, cookie::access(secure), access, "/", "Lax", seconds);
    if let Some(refresh) = refresh {
        let seconds = REFRESH_MS / 1_000;
        append(headers, secure, cookie::refresh(secure), refresh, "/api/auth", "Strict", seconds);
    }
}

/// Removes both.
pub(super) fn clear(headers: &mut HeaderMap, secure: bool) {
    append(headers, secure, cookie::access(secure), "", "/", "Lax", 0);
    append(headers, secure, cookie::refresh(secure), "", "/api/auth", "Strict", 0);
}

fn append(
    headers: &mut HeaderMap,
    secure: bool,
    name: &str,
    value: &str,
    path: &str,
    same_site: &str,
    seconds: u64,
) {
    let flag = if secure { "; Secure" } else { "" };
    let text = format!(
        "{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}{flag}"
    );
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_of_the_contract() {
        let mut headers = HeaderMap::new();
        set(&mut headers, true, "A", Some("R"));
        set(&mut headers, false, "A", None);
        let lines: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(
            lines[0],
            "__Host-webchat_access=A; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            lines[1],
            "__Secure-webchat_refresh=R; Path=/api/auth; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(lines[2], "webchat_access=A; Path=/; Max-Age=600; HttpOnly; SameSite=Lax");
        assert_eq!(lines.len(), 3);
    }
}
