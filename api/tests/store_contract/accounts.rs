//! Accounts, sessions, blocks, settings.

use super::*;

pub(super) async fn the_first_user_administers_and_the_settings_rule_the_rest(store: Any) {
    let closed =
        SettingsChange { registration: Some(RegistrationMode::Closed), ..Default::default() };
    store.change_settings(closed).await.unwrap();
    assert!(!store.has_users().await.unwrap());
    let Registration::Done(ada) = store.register(new_user(ADA, "ada", "Ada"), None).await.unwrap()
    else {
        panic!("the first one is always let in")
    };
    assert!(ada.admin && store.has_users().await.unwrap());
    let bob = || new_user(BOB, "bob", "Bob");
    assert_eq!(store.register(bob(), None).await.unwrap(), Registration::Closed);
    let invite =
        SettingsChange { registration: Some(RegistrationMode::Invite), ..Default::default() };
    store.change_settings(invite).await.unwrap();
    store.add_registration_invite("c0de".into(), ADA, T0).await.unwrap();
    assert_eq!(store.invite("c0de".into()).await.unwrap(), Some(InviteCode::Registration));
    let no = Some("other".to_owned());
    assert_eq!(store.register(bob(), no).await.unwrap(), Registration::Closed);
    let code = || Some("c0de".to_owned());
    let taken = new_user(CY, "ada", "Not Ada");
    assert_eq!(store.register(taken, code()).await.unwrap(), Registration::UsernameTaken);
    let Registration::Done(bob) = store.register(bob(), code()).await.unwrap() else {
        panic!("invited")
    };
    assert!(!bob.admin);
    let again = store.register(new_user(CY, "cy", "Cy"), code()).await.unwrap();
    assert_eq!(again, Registration::Closed, "an invitation is good for one");
    assert_eq!(store.invite("c0de".into()).await.unwrap(), None);
}

pub(super) async fn people_are_found_by_the_beginnings_of_their_names(store: Any) {
    people(&*store).await;
    let find = |text: &str| {
        let query = PeopleQuery { text: text.to_owned(), limit: 10, ..Default::default() };
        store.find_people(query)
    };
    let ids = |users: Vec<api::store::User>| users.iter().map(|u| u.id).collect::<Vec<_>>();
    assert_eq!(ids(find("LOVE").await.unwrap()), [ADA]);
    assert_eq!(ids(find("ad").await.unwrap()), [ADA]);
    assert_eq!(ids(find("ada love").await.unwrap()), [ADA]);
    assert_eq!(ids(find("ovelace").await.unwrap()), []);
    assert_eq!(ids(find("?!").await.unwrap()), []);
    assert_eq!(ids(find("").await.unwrap()), [ADA, BOB, CY]);
    let off = UserChange { disabled: Some(true), ..Default::default() };
    assert!(store.change_user(ADA, off).await.unwrap().unwrap().disabled);
    assert_eq!(ids(find("ada").await.unwrap()), []);
    let page =
        PeopleQuery { disabled_too: true, after: Some(UserId(0)), limit: 2, ..Default::default() };
    assert_eq!(ids(store.find_people(page.clone()).await.unwrap()), [ADA, BOB]);
    let rest = PeopleQuery { after: Some(BOB), ..page };
    assert_eq!(ids(store.find_people(rest).await.unwrap()), [CY]);
    let name = UserChange { display_name: Some("Žofie".into()), ..Default::default() };
    store.change_user(BOB, name).await.unwrap();
    assert_eq!(ids(find("zof").await.unwrap()), [BOB]);
    assert_eq!(ids(find("noyce").await.unwrap()), [], "the old name finds nobody");
}

pub(super) async fn contacts_are_those_who_share_a_conversation(store: Any) {
    people(&*store).await;
    let mut world = World::default();
    ingest(&*store, &[world.batch([born(group(), &[ADA, BOB, CY])])]).await;
    ingest(&*store, &[world.batch([members(group(), ADA, vec![change(CY, None)])])]).await;
    let query = PeopleQuery { contacts_of: Some(ADA), limit: 10, ..Default::default() };
    let found = store.find_people(query).await.unwrap();
    assert_eq!(found.iter().map(|u| u.id).collect::<Vec<_>>(), [ADA, BOB]);
    let among = store.contacts(ADA, vec![CY, BOB, UserId(77), ADA]).await.unwrap();
    assert_eq!(among, [BOB, ADA]);
    assert!(!store.view(ADA, 1).await.unwrap().flags.contacts_only);
    let directory = SettingsChange { directory: Some(Directory::Contacts), ..Default::default() };
    store.change_settings(directory).await.unwrap();
    assert!(store.view(ADA, 1).await.unwrap().flags.contacts_only, "brokers hear of it");
}

pub(super) async fn a_deleted_account_is_a_tombstone_and_frees_its_name(store: Any) {
    people(&*store).await;
    store.create_session(session(1, ADA), 9).await.unwrap();
    assert!(store.set_blocked(ADA, BOB, true, T0).await.unwrap());
    assert_eq!(store.delete_user(ADA).await.unwrap(), [SessionId(1)]);
    let ada = store.user(ADA).await.unwrap().unwrap();
    assert!(ada.deleted && ada.disabled && ada.username.is_empty() && ada.display_name.is_empty());
    assert_eq!(store.credentials("ada".into()).await.unwrap(), None);
    assert_eq!(store.credentials_of(ADA).await.unwrap(), None);
    assert!(store.blocked(ADA).await.unwrap().is_empty());
    let query = PeopleQuery { disabled_too: true, limit: 9, ..Default::default() };
    assert_eq!(store.find_people(query).await.unwrap().len(), 2);
    assert_eq!(store.change_user(ADA, UserChange::default()).await.unwrap(), None);
    let again = store.register(new_user(UserId(99), "ada", "Ada II"), None).await.unwrap();
    assert!(matches!(again, Registration::Done(_)));
    assert_eq!(store.users(vec![ADA, BOB, UserId(5)]).await.unwrap().len(), 2);
}

fn session(id: u128, user: UserId) -> NewSession {
    NewSession {
        id: SessionId(id),
        user,
        refresh_hash: [1; 32],
        user_agent: "test".into(),
        created_at: T0 + u64::try_from(id).unwrap(),
        expires_at: T0 + 1_000_000,
    }
}

fn rotation(shown: u8, next: u8, now_ms: u64) -> Rotation {
    Rotation {
        session: SessionId(1),
        shown: [shown; 32],
        next: [next; 32],
        now_ms,
        grace_ms: 10_000,
        expires_at: now_ms + 1_000_000,
    }
}

pub(super) async fn refresh_tokens_rotate_with_a_grace_and_a_copied_one_ends_the_session(
    store: Any,
) {
    people(&*store).await;
    store.create_session(session(1, ADA), 9).await.unwrap();
    let first = store.rotate(rotation(1, 2, T0 + 100)).await.unwrap();
    assert!(matches!(&first, Refreshed::Rotated(s) if s.last_used_at == T0 + 100 && s.user == ADA));
    let other_tab = store.rotate(rotation(1, 3, T0 + 9_000)).await.unwrap();
    assert!(matches!(other_tab, Refreshed::Grace(_)));
    let current = store.rotate(rotation(2, 4, T0 + 9_500)).await.unwrap();
    assert!(matches!(current, Refreshed::Rotated(_)), "grace has rotated nothing");
    let late = store.rotate(rotation(2, 5, T0 + 30_000)).await.unwrap();
    assert!(matches!(late, Refreshed::Reused(_)));
    assert_eq!(store.session(SessionId(1), T0).await.unwrap(), None);
    assert_eq!(store.rotate(rotation(4, 6, T0 + 30_001)).await.unwrap(), Refreshed::Unknown);
}

pub(super) async fn sessions_expire_are_listed_ended_and_capped(store: Any) {
    people(&*store).await;
    for id in 1..=3 {
        assert_eq!(store.create_session(session(id, ADA), 3).await.unwrap(), []);
    }
    store.create_session(session(9, BOB), 3).await.unwrap();
    assert_eq!(store.create_session(session(4, ADA), 3).await.unwrap(), [SessionId(1)]);
    let listed = store.sessions(ADA, T0 + 5).await.unwrap();
    assert_eq!(listed.iter().map(|s| s.id.0).collect::<Vec<_>>(), [4, 3, 2]);
    assert!(!store.end_session(BOB, SessionId(2)).await.unwrap(), "not his");
    assert!(store.end_session(ADA, SessionId(2)).await.unwrap());
    let ended = store.set_password(ADA, "new".into(), Some(SessionId(4))).await.unwrap();
    assert_eq!(ended, [SessionId(3)]);
    let credentials = store.credentials("ada".into()).await.unwrap().unwrap();
    assert_eq!(credentials.password_hash, "new");
    assert_eq!(store.session(SessionId(4), T0 + 1_000_000).await.unwrap(), None, "expired");
    assert_eq!(store.drop_expired_sessions(T0 + 1_000_000).await.unwrap(), 2);
    assert_eq!(store.end_sessions(ADA, None).await.unwrap(), []);
}

pub(super) async fn blocks_are_bounded(store: Any) {
    people(&*store).await;
    for other in 0..protocol::limits::BLOCKED_MAX as u64 {
        assert!(store.set_blocked(ADA, UserId(1_000 + other), true, T0 + other).await.unwrap());
    }
    assert!(!store.set_blocked(ADA, BOB, true, T0).await.unwrap());
    assert!(store.set_blocked(ADA, UserId(1_000), true, T0).await.unwrap(), "it is there already");
    assert!(store.set_blocked(ADA, UserId(1_000), false, T0).await.unwrap());
    assert!(store.set_blocked(ADA, BOB, true, T0 + 9_999).await.unwrap());
    assert_eq!(store.blocked(ADA).await.unwrap()[0], BOB);
}

pub(super) async fn settings_invitations_and_reports_are_kept(store: Any) {
    let change = SettingsChange {
        name: Some("Home".into()),
        directory: Some(Directory::Contacts),
        ..Default::default()
    };
    let settings = store.change_settings(change).await.unwrap();
    assert_eq!(settings, store.settings().await.unwrap());
    assert_eq!(settings.registration, RegistrationMode::Open);
    let first = store.group_invite(group(), "aaa".into(), ADA, T0).await.unwrap();
    let again = store.group_invite(group(), "bbb".into(), ADA, T0).await.unwrap();
    assert_eq!((first.as_str(), again.as_str()), ("aaa", "aaa"));
    let known = store.invite("aaa".into()).await.unwrap();
    assert_eq!(known, Some(InviteCode::Group(group())));
    store.revoke_group_invite(group()).await.unwrap();
    assert_eq!(store.invite("aaa".into()).await.unwrap(), None);
    let report = NewReport {
        by: BOB,
        conversation: group(),
        seq: 3,
        from: ADA,
        text: "rude".into(),
        reason: "it is".into(),
        ts: T0,
    };
    store.add_report(report.clone()).await.unwrap();
    store.add_report(report.clone()).await.unwrap();
    store.add_report(NewReport { seq: 4, ..report.clone() }).await.unwrap();
    let reports = store.reports(9).await.unwrap();
    assert_eq!(reports.iter().map(|r| r.report.seq).collect::<Vec<_>>(), [4, 3]);
    assert!(store.close_report(reports[0].id).await.unwrap());
    assert!(!store.close_report(77).await.unwrap());
    let reports = store.reports(9).await.unwrap();
    let short: Vec<_> = reports.iter().map(|r| (r.report.seq, r.closed)).collect();
    assert_eq!(short, [(3, false), (4, true)]);
    assert_eq!(reports[0].report, report);
}
