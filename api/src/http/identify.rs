//! Before every handler: where from, allowed to change anything, who, and not too often.
//!
//! Owns: the order of these checks. Never does: decide about a resource (the app does). Talks to: token, the app, buckets.
//! Start reading at: [`identify`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use token::{Audience, cookie};

use super::{HttpState, address::client_address, csrf, extract::Identity, problem::Problem};
use crate::{
    app::AppError,
    auth::{AuthContext, Caller},
    rate_limit::address_key,
};

/// Runs the checks and leaves [`Caller`] and, if there is a good token, [`Identity`] in the extensions.
pub(super) async fn identify(
    State(state): State<HttpState>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<SocketAddr>().map(SocketAddr::ip);
    let method = request.method().clone();
    match check(&state, peer, &method, request.headers()).await {
        Ok((caller, identity)) => {
            request.extensions_mut().insert(caller);
            if let Some(identity) = identity {
                request.extensions_mut().insert(Identity(identity));
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn check(
    state: &HttpState,
    peer: Option<IpAddr>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(Caller, Option<AuthContext>), Problem> {
    let config = state.app.config();
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let address = client_address(peer, headers, &config.trusted_proxies);
    csrf::check(method, headers, &config.origins).map_err(Problem::csrf)?;
    let identity = identity(state, headers).await?;
    let now_ms = config.clock.now_ms();
    let exempt = config.trusted_sources.iter().any(|network| network.contains(address));
    if !exempt {
        let limits = state.app.limits();
        match identity {
            Some(who) => limits.requests_per_user.take(who.user, now_ms),
            None => limits.requests_per_address.take(address_key(address), now_ms),
        }
        .map_err(|retry_after_ms| AppError::RateLimited { retry_after_ms })?;
    }
    Ok((Caller { address, exempt }, identity))
}

/// The owner of a good token that is not revoked. A bad one is the same as none: the handler says `unauthorized`.
async fn identity(state: &HttpState, headers: &HeaderMap) -> Result<Option<AuthContext>, AppError> {
    let now = state.app.config().clock.now_seconds();
    let verifier = state.app.verifier();
    let claims = match csrf::bearer_token(headers) {
        Some(token) => verifier.verify(token, Audience::Socket, now).ok(),
        None => access_cookie(headers, state.app.config().secure)
            .and_then(|token| verifier.verify(token, Audience::Access, now).ok()),
    };
    match claims {
        Some(claims) if !state.app.is_over(&claims).await? => {
            Ok(Some(AuthContext { user: claims.sub, session: claims.sid }))
        }
        _ => Ok(None),
    }
}

fn access_cookie(headers: &HeaderMap, secure: bool) -> Option<&str> {
    find_cookie(headers, cookie::access(secure))
}

/// A cookie by its name.
pub(super) fn find_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(header::COOKIE).iter();
    lines.find_map(|line| cookie::find(line.to_str().ok()?, name))
}
