//! From a command to what the shard does about it: pure, table-tested.
//!
//! Owns: who may ask for what. Never does: state, clocks. Talks to: protocol. Start reading at: [`route`].

use protocol::{Command, ConversationId, ErrorCode, UserId};

/// What the shard knows of the asker, as far as routing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The asker.
    pub user: UserId,
    /// Has got its `welcome`.
    pub welcomed: bool,
    /// Standing in the conversation of the command.
    pub standing: Standing,
    /// The node stops.
    pub draining: bool,
    /// Overload ladder, 0–3 ([`crate::overload`]). Shed receipts are taken, and wait.
    pub ladder: u8,
}

/// A user in a conversation, as this shard sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member; appends name this version.
    Member {
        /// The newest membership version seen.
        mver: u64,
    },
    /// A group that this shard knows the user was removed from.
    Removed,
    /// A group the user is not in, as far as this shard has heard: the news may be on its way.
    Unheard,
    /// A direct conversation of others.
    Stranger,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Answer `hello`.
    Welcome,
    /// Append under this membership version.
    Append {
        /// See [`Standing::Member`].
        mver: u64,
    },
    /// Find out whether they are a member, then append or refuse.
    Authorise,
    /// Ack it if it is stored already, else refuse it as forbidden.
    Recognise,
    /// Merge the cursors.
    Receipt,
    /// Publish the signal.
    Typing,
    /// Replace the lists.
    Watch,
    /// Check the token.
    Reauth,
    /// `ok`.
    Ok,
    /// Nothing, by design (shed, or a signal nobody may see).
    Drop,
    /// An `error`.
    Refuse(ErrorCode),
}

/// The conversation a command is about.
pub fn conversation_of(command: &Command<'_>) -> Option<ConversationId> {
    match command {
        Command::Publish { conversation, .. }
        | Command::Receipt { conversation, .. }
        | Command::Typing { conversation, .. } => Some(*conversation),
        _ => None,
    }
}

/// Decides.
pub fn route(command: &Command<'_>, who: Who) -> Route {
    use Standing::{Member, Removed, Stranger, Unheard};
    if !who.welcomed {
        return match command {
            Command::Hello { .. } => Route::Welcome,
            _ => Route::Refuse(ErrorCode::NotExpected),
        };
    }
    match (command, who.standing) {
        (Command::Hello { .. }, _) => Route::Refuse(ErrorCode::NotExpected),
        (Command::Publish { .. }, _) if who.draining => Route::Refuse(ErrorCode::Draining),
        (Command::Publish { .. }, Stranger) => Route::Refuse(ErrorCode::Forbidden),
        (Command::Publish { .. }, _) if who.ladder >= 3 => Route::Refuse(ErrorCode::Overloaded),
        (Command::Publish { .. }, Removed) => Route::Recognise,
        (Command::Publish { .. }, Member { mver }) => Route::Append { mver },
        (Command::Publish { .. }, Unheard) => Route::Authorise,
        (Command::Receipt { .. }, Member { .. }) => Route::Receipt,
        (Command::Receipt { .. }, _) => Route::Refuse(ErrorCode::Forbidden),
        (Command::Typing { .. }, Member { .. }) if who.ladder == 0 => Route::Typing,
        (Command::Typing { .. }, _) => Route::Drop,
        (Command::Watch { .. }, _) => Route::Watch,
        (Command::Reauth { .. }, _) => Route::Reauth,
        (Command::Ping, _) => Route::Ok,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Producer, body::MessageBody};

    use super::*;

    fn check(command: &Command<'_>, change: impl FnOnce(&mut Who), expected: Route) {
        let mut who = Who {
            user: UserId(1),
            welcomed: true,
            standing: Standing::Member { mver: 4 },
            draining: false,
            ladder: 0,
        };
        change(&mut who);
        assert_eq!(route(command, who), expected, "{command:?} by {who:?}");
    }

    #[test]
    fn r6_r14_r41_commands_go_where_the_table_says() {
        use Standing::{Removed, Stranger, Unheard};
        let conversation = ConversationId::group(1);
        let body = MessageBody { text: "hi".into(), reply_to: None, attachments: vec![] };
        let publish = Command::Publish { conversation, producer: Producer(1), no: 1, body };
        let receipt = Command::Receipt { conversation, delivered: None, read: Some(1) };
        let typing = Command::Typing { conversation, producer: Producer(1), no: 0 };
        let hello = Command::Hello { client: "", resume: None };
        let refuse = Route::Refuse;
        check(&hello, |w| w.welcomed = false, Route::Welcome);
        check(&hello, |_| (), refuse(ErrorCode::NotExpected));
        check(&Command::Ping, |w| w.welcomed = false, refuse(ErrorCode::NotExpected));
        check(&Command::Ping, |_| (), Route::Ok);
        check(&publish, |_| (), Route::Append { mver: 4 });
        check(&publish, |w| w.standing = Unheard, Route::Authorise);
        check(&publish, |w| w.standing = Removed, Route::Recognise);
        check(&publish, |w| w.standing = Stranger, refuse(ErrorCode::Forbidden));
        check(&publish, |w| w.draining = true, refuse(ErrorCode::Draining));
        check(&publish, |w| w.ladder = 3, refuse(ErrorCode::Overloaded));
        check(&publish, |w| w.ladder = 2, Route::Append { mver: 4 });
        check(&receipt, |_| (), Route::Receipt);
        check(&receipt, |w| w.ladder = 3, Route::Receipt);
        check(&receipt, |w| w.standing = Unheard, refuse(ErrorCode::Forbidden));
        check(&typing, |_| (), Route::Typing);
        check(&typing, |w| w.ladder = 1, Route::Drop);
        check(&typing, |w| w.standing = Removed, Route::Drop);
    }
}
