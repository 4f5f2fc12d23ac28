//! The internal port: what brokers may ask, and nothing without the cluster's secret.
//!
//! Owns: its routes, the gate before all of them, deadlines and bounds. Never does: anything for a browser. Talks to: the
//! archive, the key ring's public half. Start reading at: [`router`]; the wire form is in `crates/internal`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use backplane::{Archive, ArchiveError, archive::SESSIONS_MAX};
use internal::{
    Secret,
    wire::{
        AskContacts, AskEnded, AskFind, AskHead, AskRange, AskView, Call, ContactsTold, EndedTold,
        FoundTold, HeadTold, KEYS_PATH, QUESTION_BYTES_MAX, RangeTold, Refusal, Refused, ViewTold,
    },
};
use protocol::limits;
use token::Verifier;
use tokio::{sync::Semaphore, time::timeout};

use crate::serve::Doors;

/// Brokers of a cluster × the questions that each may have under way, and as much again for a rolling restart:
/// 20 × 64 × 2.
pub const DOORS: Doors = Doors { connections_max: 2_560, header_within: Duration::from_secs(60) };
/// Questions under way at once. The store reads with a handful of threads: more only wait.
const CALLS_MAX: usize = 64;
/// Questions that wait for one of them. Beyond: `busy`.
const QUEUE_MAX: usize = 512;
/// One question with its wait: less than a broker's try (1.5 s), so that it hears what happened.
const CALL_WITHIN: Duration = Duration::from_millis(1_200);

/// What the port answers from.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The store.
    pub archive: Arc<dyn Archive>,
    /// The public keys.
    pub verifier: Verifier,
    /// Who may ask.
    pub secret: Secret,
}

#[derive(Debug)]
struct Shared {
    desk: Desk,
    seats: Semaphore,
    places: Semaphore,
}

/// A question that the archive answers.
trait Answer: Call {
    fn answer(
        self,
        archive: &dyn Archive,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;
}

fn away(_: ArchiveError) -> Refusal {
    Refusal::Unavailable
}

impl Answer for AskView {
    async fn answer(self, archive: &dyn Archive) -> Result<ViewTold, Refusal> {
        Ok(ViewTold::of(archive.view(self.user).await.map_err(away)?))
    }
}

impl Answer for AskHead {
    async fn answer(self, archive: &dyn Archive) -> Result<HeadTold, Refusal> {
        Ok(HeadTold::of(archive.head(self.conversation).await.map_err(away)?))
    }
}

impl Answer for AskFind {
    async fn answer(self, archive: &dyn Archive) -> Result<FoundTold, Refusal> {
        Ok(FoundTold::of(archive.find(self.key()).await.map_err(away)?))
    }
}

impl Answer for AskContacts {
    async fn answer(self, archive: &dyn Archive) -> Result<ContactsTold, Refusal> {
        if self.people.len() > limits::WATCH_MAX {
            return Err(Refusal::TooLarge);
        }
        let people = archive.contacts(self.user, self.people).await.map_err(away)?;
        Ok(ContactsTold { people })
    }
}

impl Answer for AskEnded {
    async fn answer(self, archive: &dyn Archive) -> Result<EndedTold, Refusal> {
        if self.sessions.len() > SESSIONS_MAX {
            return Err(Refusal::TooLarge);
        }
        let sessions = archive.ended(self.sessions).await.map_err(away)?;
        Ok(EndedTold { sessions })
    }
}

impl Answer for AskRange {
    async fn answer(self, archive: &dyn Archive) -> Result<RangeTold, Refusal> {
        let events = archive.range(self.conversation, self.from, self.to).await.map_err(away)?;
        RangeTold::of(events).map_err(|error| {
            tracing::error!(%error, conversation = %self.conversation, "cannot be told to a broker");
            Refusal::Internal
        })
    }
}

/// All routes, behind the gate.
pub fn router(desk: Desk) -> Router {
    let shared = Arc::new(Shared {
        desk,
        seats: Semaphore::new(CALLS_MAX),
        places: Semaphore::new(CALLS_MAX + QUEUE_MAX),
    });
    Router::new()
        .route(KEYS_PATH, get(keys))
        .route(AskView::PATH, post(answer::<AskView>))
        .route(AskHead::PATH, post(answer::<AskHead>))
        .route(AskFind::PATH, post(answer::<AskFind>))
        .route(AskContacts::PATH, post(answer::<AskContacts>))
        .route(AskEnded::PATH, post(answer::<AskEnded>))
        .route(AskRange::PATH, post(answer::<AskRange>))
        .fallback(async || refused(Refusal::NoCall))
        .method_not_allowed_fallback(async || refused(Refusal::NoCall))
        .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX))
        // Last = outermost: also what is no route is behind it.
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), gate))
        .with_state(shared)
}

/// Nothing is read of a request without the secret, and nothing is said but that.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if shared.desk.secret.admits(shown) {
        next.run(request).await
    } else {
        refused(Refusal::Denied)
    }
}

fn json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn refused(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let text = serde_json::to_vec(&Refused { outcome: refusal }).unwrap_or_default();
    json(status, text)
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, shared.desk.verifier.jwks().to_string())
}

async fn answer<C: Answer>(
    State(shared): State<Arc<Shared>>,
    question: Result<Bytes, BytesRejection>,
) -> Response {
    match told::<C>(&shared, question).await {
        Ok(text) => json(StatusCode::OK, text),
        Err(refusal) => refused(refusal),
    }
}

async fn told<C: Answer>(
    shared: &Shared,
    question: Result<Bytes, BytesRejection>,
) -> Result<Vec<u8>, Refusal> {
    let question = question.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
        _ => Refusal::Malformed,
    })?;
    let question: C = serde_json::from_slice(&question).map_err(|_| Refusal::Malformed)?;
    let _place = shared.places.try_acquire().map_err(|_| Refusal::Busy)?;
    let answering = async {
        let _seat = shared.seats.acquire().await.map_err(|_| Refusal::Unavailable)?;
        question.answer(&*shared.desk.archive).await
    };
    let answer = timeout(CALL_WITHIN, answering).await.unwrap_or(Err(Refusal::Unavailable))?;
    serde_json::to_vec(&answer).map_err(|_| Refusal::Internal)
}
