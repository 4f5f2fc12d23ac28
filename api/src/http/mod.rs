//! HTTP: extract, call the app, map the answer. Nothing is decided here.
//!
//! Owns: routes, extractors, layers, the page. Never does: store or log anything itself. Talks to: axum, the app.
//! Start reading at: [`router`].

mod address;
mod admin;
mod auth;
mod conversations;
mod cookies;
mod csrf;
mod docs;
mod events;
mod extract;
mod identify;
mod instance;
mod layers;
mod me;
mod members;
mod messages;
mod page;
mod problem;
mod search;
mod users;

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// What every handler can reach.
#[derive(Debug, Clone)]
pub(crate) struct HttpState {
    pub(crate) app: Arc<App>,
}

fn documented() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(docs::preamble())
        .merge(instance::routes())
        .merge(auth::routes())
        .merge(me::routes())
        .merge(users::routes())
        .merge(conversations::routes())
        .merge(members::routes())
        .merge(events::routes())
        .merge(messages::routes())
        .merge(search::routes())
        .merge(admin::routes())
}

/// The OpenAPI 3.1 document, from the handlers.
pub fn openapi() -> OpenApi {
    documented().into_openapi()
}

/// All routes with everything around them. A request may carry its peer's `SocketAddr` as an extension.
pub(crate) fn router(app: Arc<App>) -> Router {
    let state = HttpState { app };
    let (router, document) = documented().split_for_parts();
    let documents = docs::Documents::new(&document);
    let identified = router
        .route("/api/openapi.json", get(docs::openapi_json).with_state(documents.clone()))
        .route("/api/docs", get(docs::page).with_state(documents))
        .method_not_allowed_fallback(async || problem::Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(state.clone(), identify::identify));
    identified
        .merge(Router::new().fallback(page::serve).layer(CompressionLayer::new()))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), layers::surround))
        .with_state(state)
}
