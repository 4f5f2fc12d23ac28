//! Finding messages by words.
//!
//! Owns: where somebody may search. Never does: match (the store does). Talks to: the history reader, the store.
//! Start reading at: [`App::search`].

use protocol::{ConversationId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, AppError, account::take};
use crate::{
    auth::AuthContext,
    store::{Scope, Search, SearchPlace, Summary},
};

/// Hits of one page.
const HITS_MAX: usize = 50;
/// Hits of one page if nothing is said.
const HITS_DEFAULT: usize = 20;
/// Characters of a query.
const QUERY_CHARS_MAX: usize = 200;

/// A message that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SearchHit {
    /// Where.
    #[schema(value_type = String)]
    pub conversation: ConversationId,
    /// Its place.
    pub seq: u64,
    /// Whose.
    #[schema(value_type = String)]
    pub from: UserId,
    /// Unix milliseconds.
    pub ts: u64,
    /// Its text now.
    pub text: String,
}

/// A page of hits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SearchPage {
    /// Newest first.
    pub hits: Vec<SearchHit>,
    /// `before` of the next page, if there may be one.
    pub next: Option<String>,
}

fn place_text(place: &SearchPlace) -> String {
    format!("{}-{}-{}", place.ts, place.conversation, place.seq)
}

fn parse_place(text: &str) -> Option<SearchPlace> {
    let mut parts = text.splitn(3, '-');
    let ts = parts.next()?.parse().ok()?;
    let conversation = parts.next()?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    Some(SearchPlace { ts, conversation, seq })
}

impl App {
    /// Messages with all the words, newest first, where this person is a member and from their own time on.
    pub async fn search(
        &self,
        who: AuthContext,
        text: &str,
        conversation: Option<ConversationId>,
        before: Option<&str>,
        limit: Option<usize>,
    ) -> Result<SearchPage, AppError> {
        self.stores_messages()?;
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        let text: String = text.trim().chars().take(QUERY_CHARS_MAX).collect();
        if text.is_empty() {
            return Err(AppError::field("q", "empty"));
        }
        let before =
            before.map(|text| parse_place(text).ok_or(AppError::field("before", "malformed")));
        let before = before.transpose()?;
        let summaries = match conversation {
            Some(id) => vec![self.summary(who, id).await?],
            None => self.history().summaries(who.user).await?,
        };
        let scope = |summary: &Summary| {
            let id = summary.conversation.id;
            let member = !id.is_group() || summary.member.is_some_and(|m| m.role.is_some());
            let since = summary.member.map_or(1, |member| member.since);
            member.then_some(Scope { conversation: id, since })
        };
        let scopes = summaries.iter().filter_map(scope).collect();
        let blocked = self.store().blocked(who.user).await?;
        let limit = limit.unwrap_or(HITS_DEFAULT).clamp(1, HITS_MAX);
        let found = self.store().search(Search { text, scopes, blocked, before, limit }).await?;
        let next = found.last().filter(|_| found.len() == limit).map(|hit| place_text(&hit.place));
        let hit = |hit: crate::store::Hit| SearchHit {
            conversation: hit.place.conversation,
            seq: hit.place.seq,
            from: hit.from,
            ts: hit.place.ts,
            text: hit.text,
        };
        Ok(SearchPage { hits: found.into_iter().map(hit).collect(), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_their_text() {
        let place = SearchPlace { ts: 5, conversation: ConversationId::group(9), seq: 7 };
        assert_eq!(parse_place(&place_text(&place)), Some(place));
        for bad in ["", "5", "5-x-7", "--", "1-2-3"] {
            assert_eq!(parse_place(bad), None, "{bad}");
        }
    }
}
