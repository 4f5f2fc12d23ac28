//! All that is mine, as one document.
//!
//! Owns: what belongs to a person. Never does: others' messages. Talks to: the store. Start reading at: [`App::export`].

use serde_json::{Value, json};

use super::{App, AppError, account::take};
use crate::auth::AuthContext;

/// Messages read from the store at a time.
const CHUNK: usize = 1_000;
/// Messages in one export: 100,000 × 1 KiB is what one answer may hold in memory; `truncated` says that there were more.
const MESSAGES_MAX: usize = 100_000;

impl App {
    /// Profile, sessions, conversations, and every message of one's own.
    pub async fn export(&self, who: AuthContext) -> Result<Value, AppError> {
        self.stores_messages()?;
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        let me = self.me(who).await?;
        let conversations = self.conversations(who).await?.conversations;
        let sessions = self.sessions(who).await?.sessions;
        let blocked = self.blocked(who).await?.users;
        let mut messages = Vec::new();
        let mut after = None;
        let truncated = loop {
            let chunk = self.store().own_messages(who.user, after, CHUNK).await?;
            after = chunk.last().map(|message| (message.conversation, message.seq));
            let short = chunk.len() < CHUNK;
            messages.extend(chunk.into_iter().map(|message| {
                json!({
                    "conversation": message.conversation, "seq": message.seq,
                    "ts": message.ts, "text": message.text,
                })
            }));
            if short || messages.len() >= MESSAGES_MAX {
                break !short;
            }
        };
        Ok(json!({
            "exported_at": self.now_ms(), "me": me, "sessions": sessions, "blocked": blocked,
            "conversations": conversations, "messages": messages, "truncated": truncated,
        }))
    }
}
