//! What every store must do. Each test takes an empty store; the list at the end runs all of them on one implementation.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod accounts;
mod conversations;
mod history;
mod ingest;
#[path = "../world/mod.rs"]
mod world;

use std::sync::Arc;

use api::{
    projection::{Item, MessageState},
    store::{
        Anchor, Directory, Holes, InviteCode, MineChange, NewReport, NewSession, PeopleQuery,
        Refreshed, Registration, RegistrationMode, Rotation, Scope, Search, SettingsChange, Store,
        StoreError, UserChange, Viewer,
    },
};
use backplane::{Batch, Cursors, Envelope, GroupSize, Head, Logged};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Role, SessionId, UserId, body::content_hash};
use world::{
    ADA, BOB, CY, Folder, T0, World, born, change, delete, edit, ingest, members, new_user, people,
    react, rename, say,
};

type Any = Arc<dyn Store>;

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn group() -> ConversationId {
    ConversationId::group(7)
}

fn viewer() -> Viewer {
    Viewer { since: 1, blocked: vec![] }
}

async fn page(store: &dyn Store, at: ConversationId) -> Vec<Item> {
    store.page(at, viewer(), Anchor::Newest, 100).await.unwrap().items
}

fn texts(items: &[Item]) -> Vec<&str> {
    items.iter().filter_map(Item::message).map(|message| message.text.as_str()).collect()
}

fn seqs(items: &[Item]) -> Vec<u64> {
    items.iter().map(|item| item.seq).collect()
}

async fn found(store: &dyn Store, text: &str, scopes: &[(ConversationId, u64)]) -> Vec<u64> {
    let scopes = scopes
        .iter()
        .map(|(conversation, since)| Scope { conversation: *conversation, since: *since });
    let search = Search {
        text: text.to_owned(),
        scopes: scopes.collect(),
        blocked: vec![],
        before: None,
        limit: 20,
    };
    store.search(search).await.unwrap().iter().map(|hit| hit.place.seq).collect()
}

/// Runs the whole contract on one implementation: `$open` gives a guard and an empty store.
macro_rules! contract {
    ($name:ident, $open:expr, $($part:ident: [$($test:ident),* $(,)?]),* $(,)?) => {
        mod $name {
            use super::*;
            $($(#[tokio::test]
            async fn $test() {
                let (_guard, store) = $open;
                $part::$test(store).await;
            })*)*
        }
    };
}

fn sqlite() -> (Folder, Any) {
    let folder = Folder::new();
    let store = folder.store();
    (folder, store)
}

contract!(
    on_sqlite,
    sqlite(),
    accounts: [
        the_first_user_administers_and_the_settings_rule_the_rest,
        people_are_found_by_the_beginnings_of_their_names,
        contacts_are_those_who_share_a_conversation,
        a_deleted_account_is_a_tombstone_and_frees_its_name,
        refresh_tokens_rotate_with_a_grace_and_a_copied_one_ends_the_session,
        sessions_expire_are_listed_ended_and_capped,
        blocks_are_bounded,
        settings_invitations_and_reports_are_kept,
    ],
    ingest: [
        events_are_kept_as_they_came_and_heads_follow,
        repeating_any_phase_changes_nothing,
        only_the_owner_of_the_cursor_moves_it,
        a_key_that_is_taken_leaves_a_hole,
        an_event_that_cannot_be_stored_is_named_and_can_be_buried,
        a_dead_letter_never_takes_the_place_of_another_event,
        keys_are_found_with_what_is_known_of_their_producer,
    ],
    history: [
        pages_fold_and_go_both_ways,
        what_a_viewer_may_not_see_is_not_in_the_page,
        deleted_words_are_gone_from_the_store,
        own_messages_come_in_pages,
        search_finds_words_prefixes_and_cjk_substrings,
        search_follows_edits_and_stays_within_what_one_may_see,
        search_pages_are_newest_first_over_all_conversations,
    ],
    conversations: [
        members_merge_and_tombstones_stay,
        direct_conversations_are_in_summaries_not_in_views,
        summaries_count_what_is_unread,
        what_is_mine_is_kept_field_by_field_even_before_the_birth,
    ],
);
