//! Reports of messages to the administrators.
//!
//! Owns: these functions. Never does: act on a report. Talks to: the store. Start reading at: [`App::report`].

use protocol::{ConversationId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, AppError, account::take, cards::UserCard};
use crate::{auth::AuthContext, store::NewReport};

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1_000;
/// Reports in one answer.
const REPORTS_MAX: usize = 200;

/// A reported message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReportInfo {
    /// Which.
    pub id: String,
    /// Who reports.
    pub by: UserCard,
    /// Where.
    #[schema(value_type = String)]
    pub conversation: ConversationId,
    /// The message.
    pub seq: u64,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub from: UserId,
    /// Its text at that time.
    pub text: String,
    /// Why.
    pub reason: String,
    /// Unix milliseconds.
    pub ts: u64,
    /// Dealt with.
    pub closed: bool,
}

/// Reported messages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReportList {
    /// Open ones first, then the latest first.
    pub reports: Vec<ReportInfo>,
}

impl App {
    /// Reports a message that one may see.
    pub async fn report(
        &self,
        who: AuthContext,
        id: ConversationId,
        seq: u64,
        reason: String,
    ) -> Result<(), AppError> {
        let reason = reason.trim().to_owned();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            return Err(AppError::field("reason", "length"));
        }
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        let item = self.message(who, id, seq).await?;
        let text = item.message().map(|message| message.text.clone()).unwrap_or_default();
        let ts = self.now_ms();
        let report =
            NewReport { by: who.user, conversation: id, seq, from: item.from, text, reason, ts };
        Ok(self.store().add_report(report).await?)
    }

    /// All reports, for administrators.
    pub async fn reports(&self, who: AuthContext) -> Result<ReportList, AppError> {
        self.require_admin(who).await?;
        let reports = self.store().reports(REPORTS_MAX).await?;
        let by: Vec<UserId> = reports.iter().map(|report| report.report.by).collect();
        let cards = self.cards_by_id(&by).await?;
        let info = |report: crate::store::Report| {
            let NewReport { by, conversation, seq, from, text, reason, ts } = report.report;
            let by = cards.get(&by).cloned().unwrap_or_else(|| UserCard::deleted(by));
            let (id, closed) = (report.id.to_string(), report.closed);
            ReportInfo { id, by, conversation, seq, from, text, reason, ts, closed }
        };
        Ok(ReportList { reports: reports.into_iter().map(info).collect() })
    }

    /// Marks a report as done.
    pub async fn close_report(&self, who: AuthContext, id: &str) -> Result<(), AppError> {
        self.require_admin(who).await?;
        let id = id.parse().map_err(|_| AppError::NotFound("report"))?;
        if self.store().close_report(id).await? {
            Ok(())
        } else {
            Err(AppError::NotFound("report"))
        }
    }
}
