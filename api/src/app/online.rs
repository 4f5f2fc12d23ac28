//! The online list: everybody whom some node says is online, with their names.
//!
//! Owns: the index and the task that keeps it. Never does: decide who is online (brokers announce). Talks to: `Live`, the
//! store. Start reading at: [`follow_presence`], then [`App::online`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use backplane::{Live, NodeId, Signal, live::NodePresence};
use protocol::{UserId, event::UserChange};
use smallvec::SmallVec;
use tokio::time::MissedTickBehavior;

use super::{
    App, AppError,
    account::take,
    cards::{OnlineList, OnlineUser, UserCard, matches},
    people::needle,
};
use crate::{auth::AuthContext, store::Store};

/// People in one page.
const PAGE_MAX: usize = 100;
/// The lists of all nodes are read again this often: what a lost signal or a dead node left behind goes away.
const RESYNC_EVERY: Duration = Duration::from_secs(10);
/// Names asked from the store in one call.
const NAMES_CHUNK: usize = 500;

/// Key of a person in the list: display name in lower case, then id. The name is shared with the way back.
type Place = (Arc<str>, UserId);

/// Which nodes say since when that somebody is online: one, for nearly everybody.
type Sources = SmallVec<[(NodeId, u64); 1]>;

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<UserId, Sources>,
    versions: HashMap<NodeId, u64>,
    /// People with names, in the order of the list.
    list: BTreeMap<Place, Names>,
    /// Half of the place of each, the other half is the key.
    places: HashMap<UserId, Arc<str>>,
    /// Whose name is to be asked for. Who is deleted or hidden is asked for once, and has none.
    unnamed: HashSet<UserId>,
}

/// Who is online, by name. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OnlineIndex(Arc<RwLock<State>>);

/// What else is shown of somebody, in one piece: the username up to `display`, the display name up to `about`, the rest.
#[derive(Debug)]
struct Names {
    text: Box<str>,
    display: u16,
    about: u16,
}

impl Names {
    /// `None`: longer than any name may be.
    fn of(card: &UserCard) -> Option<Self> {
        let UserCard { username, display_name, about, .. } = card;
        let (display, end) = (username.len(), username.len() + display_name.len());
        let text = [username.as_str(), display_name, about].concat().into();
        Some(Self { text, display: display.try_into().ok()?, about: end.try_into().ok()? })
    }

    fn username(&self) -> &str {
        &self.text[..usize::from(self.display)]
    }

    fn display_name(&self) -> &str {
        &self.text[usize::from(self.display)..usize::from(self.about)]
    }

    fn card(&self, id: UserId) -> UserCard {
        UserCard {
            id,
            username: self.username().to_owned(),
            display_name: self.display_name().to_owned(),
            about: self.text[usize::from(self.about)..].to_owned(),
        }
    }
}

impl State {
    fn set(&mut self, node: NodeId, user: UserId, online: bool, as_of: u64) {
        if online {
            let nodes = self.nodes.entry(user).or_default();
            if nodes.is_empty() && !self.places.contains_key(&user) {
                self.unnamed.insert(user);
            }
            if !nodes.iter().any(|(known, _)| *known == node) {
                nodes.push((node, as_of));
            }
        } else if let Some(nodes) = self.nodes.get_mut(&user) {
            nodes.retain(|(known, _)| *known != node);
            if nodes.is_empty() {
                self.nodes.remove(&user);
                self.unnamed.remove(&user);
                self.forget(user);
            }
        }
    }

    fn forget(&mut self, user: UserId) {
        if let Some(name) = self.places.remove(&user) {
            self.list.remove(&(name, user));
        }
    }

    fn name(&mut self, card: UserCard) {
        self.forget(card.id);
        if let Some(names) = Names::of(&card).filter(|_| self.nodes.contains_key(&card.id)) {
            let place: Place = (card.display_name.to_lowercase().into(), card.id);
            self.places.insert(card.id, Arc::clone(&place.0));
            self.list.insert(place, names);
        }
    }

    /// Takes over what the nodes say, unless that is what is known already.
    fn reset(&mut self, nodes: Vec<NodePresence>) {
        let known = |node: &NodePresence| self.versions.get(&node.node) == Some(&node.version);
        if nodes.len() == self.versions.len() && nodes.iter().all(known) {
            return;
        }
        let mut online: HashMap<UserId, Sources> = HashMap::with_capacity(self.nodes.len());
        self.versions = nodes.iter().map(|node| (node.node, node.version)).collect();
        for node in nodes {
            for (user, as_of) in node.users {
                online.entry(user).or_default().push((node.node, as_of));
            }
        }
        let gone: Vec<UserId> =
            self.places.keys().filter(|user| !online.contains_key(user)).copied().collect();
        gone.into_iter().for_each(|user| self.forget(user));
        let unnamed = online.keys().filter(|user| !self.places.contains_key(user));
        self.unnamed = unnamed.copied().collect();
        self.nodes = online;
    }

    fn take_unnamed(&mut self) -> Vec<UserId> {
        std::mem::take(&mut self.unnamed).into_iter().collect()
    }
}

impl OnlineIndex {
    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies one signal; `true`: a version is missing, read all.
    fn apply(&self, signal: Signal) -> bool {
        self.write(|state| match signal {
            Signal::Presence { node, version, changes } => {
                let known = state.versions.get(&node).copied().unwrap_or(0);
                // It was on its way when the lists were read.
                if version <= known {
                    return false;
                }
                for change in changes {
                    state.set(node, change.user, change.online, change.as_of);
                }
                if version != known + 1 {
                    // Whatever the next look finds is news.
                    state.versions.remove(&node);
                    return true;
                }
                state.versions.insert(node, version);
                false
            }
            Signal::NodeGone { node } => {
                state.versions.remove(&node);
                let users: Vec<UserId> = state.nodes.keys().copied().collect();
                users.into_iter().for_each(|user| state.set(node, user, false, 0));
                false
            }
            Signal::UserChanged { user, what: UserChange::Profile } => {
                state.forget(user);
                if state.nodes.contains_key(&user) {
                    state.unnamed.insert(user);
                }
                false
            }
            _ => false,
        })
    }

    /// One page: who matches, in the order of the list, after a place.
    fn page(
        &self,
        needle: &str,
        only: Option<&HashSet<UserId>>,
        after: Option<&Place>,
        limit: usize,
    ) -> OnlineList {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let visible = |id: &UserId, names: &Names| {
            only.is_none_or(|only| only.contains(id))
                && matches(needle, names.username(), names.display_name())
        };
        let mut list = OnlineList { total: 0, users: Vec::new(), next: None };
        let mut last: Option<&Place> = None;
        for (place, names) in state.list.iter().filter(|((_, id), names)| visible(id, names)) {
            list.total += 1;
            if after.is_some_and(|after| place <= after) {
                continue;
            }
            if list.users.len() < limit {
                let since = state
                    .nodes
                    .get(&place.1)
                    .and_then(|nodes| nodes.iter().map(|(_, as_of)| *as_of).min());
                let since = since.unwrap_or_default();
                list.users.push(OnlineUser { card: names.card(place.1), since });
                last = Some(place);
            } else if list.next.is_none() {
                list.next = last.map(|(name, id)| format!("{id}{name}"));
            }
        }
        list
    }
}

fn parse_place(text: &str) -> Option<Place> {
    let (id, name) = text.split_at_checked(16)?;
    Some((name.into(), id.parse().ok()?))
}

impl App {
    /// Everybody online whom this person may find.
    pub async fn online(
        &self,
        who: AuthContext,
        text: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<OnlineList, AppError> {
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        let malformed = || AppError::field("after", "malformed");
        let after = after.map(|text| parse_place(text).ok_or_else(malformed)).transpose()?;
        let only = match self.contacts_only().await? {
            true => Some(self.contacts(who).await?),
            false => None,
        };
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let needle = needle(text).to_lowercase();
        Ok(self.parts.online.page(&needle, only.as_ref(), after.as_ref(), limit))
    }

    /// People with whom somebody shares a conversation, themselves included.
    async fn contacts(&self, who: AuthContext) -> Result<HashSet<UserId>, AppError> {
        let query = crate::store::PeopleQuery {
            contacts_of: Some(who.user),
            limit: CONTACTS_MAX,
            ..Default::default()
        };
        let found = self.store().find_people(query).await?;
        Ok(found.iter().map(|user| user.id).chain([who.user]).collect())
    }
}

/// Contacts that are looked at: 1,000 groups of 1,000 would be a million; the rest is not found in the online list.
const CONTACTS_MAX: usize = 20_000;

/// Keeps the index; runs until it is dropped. While live state is away the list stays as it was.
pub(crate) async fn follow_presence(
    live: Arc<dyn Live>,
    store: Arc<dyn Store>,
    index: OnlineIndex,
) {
    let mut signals = live.subscribe();
    let mut resync = tokio::time::interval(RESYNC_EVERY);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let again = tokio::select! {
            biased;
            // First: it is due every ten seconds only, and heals what signals lost.
            _ = resync.tick() => true,
            received = signals.next() => match received {
                Ok(signals) => signals.into_iter().fold(false, |gap, signal| index.apply(signal) | gap),
                Err(_) => true,
            },
        };
        if again {
            match live.snapshot().await {
                Ok(nodes) => index.write(|state| state.reset(nodes)),
                Err(error) => tracing::debug!(%error, "the online list stays as it was"),
            }
        }
        name_all(&*store, &index).await;
    }
}

async fn name_all(store: &dyn Store, index: &OnlineIndex) {
    let unnamed = index.write(State::take_unnamed);
    for (number, chunk) in unnamed.chunks(NAMES_CHUNK).enumerate() {
        match store.users(chunk.to_vec()).await {
            Ok(users) => index.write(|state| {
                for user in users.iter().filter(|user| !user.deleted && !user.hidden) {
                    state.name(UserCard::of(user));
                }
            }),
            Err(error) => {
                tracing::debug!(%error, "names of the online list come later");
                let rest = unnamed[number * NAMES_CHUNK..].iter().copied();
                return index.write(|state| {
                    let online = rest.filter(|user| state.nodes.contains_key(user));
                    state.unnamed.extend(online);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backplane::PresenceChange;

    use super::*;

    const NODE: NodeId = NodeId(1);

    fn change(user: u64, online: bool) -> PresenceChange {
        PresenceChange { user: UserId(user), online, as_of: 5 }
    }

    fn named(index: &OnlineIndex, user: u64, name: &str) {
        let card = UserCard {
            id: UserId(user),
            username: name.to_lowercase(),
            display_name: name.to_owned(),
            about: String::new(),
        };
        index.write(|state| state.name(card));
    }

    fn names(list: &OnlineList) -> Vec<&str> {
        list.users.iter().map(|user| user.card.display_name.as_str()).collect()
    }

    #[test]
    fn the_list_pages_searches_and_forgets() {
        let index = OnlineIndex::default();
        let changes = (1..=3).map(|user| change(user, true)).collect();
        assert!(!index.apply(Signal::Presence { node: NODE, version: 1, changes }));
        for (user, name) in [(1, "Cy"), (2, "Ada Bell"), (3, "Bob")] {
            named(&index, user, name);
        }
        let first = index.page("", None, None, 2);
        assert_eq!((names(&first), first.total), (vec!["Ada Bell", "Bob"], 3));
        let after = parse_place(first.next.as_deref().unwrap()).unwrap();
        let second = index.page("", None, Some(&after), 2);
        assert_eq!((names(&second), second.next.as_deref()), (vec!["Cy"], None));
        assert_eq!(names(&index.page("b", None, None, 9)), ["Ada Bell", "Bob"]);
        let only = [UserId(1)].into();
        assert_eq!(names(&index.page("", Some(&only), None, 9)), ["Cy"]);
        let changes = vec![change(3, false)];
        assert!(!index.apply(Signal::Presence { node: NODE, version: 2, changes }));
        assert_eq!(index.page("", None, None, 9).total, 2);
        assert!(!index.apply(Signal::NodeGone { node: NODE }));
        assert_eq!(index.page("", None, None, 9).total, 0);
    }

    #[test]
    fn a_gap_in_versions_asks_for_everything() {
        let index = OnlineIndex::default();
        let presence = |version| Signal::Presence { node: NODE, version, changes: vec![] };
        assert!(!index.apply(presence(1)));
        assert!(index.apply(presence(3)));
        let nodes = vec![NodePresence { node: NODE, version: 3, users: vec![(UserId(9), 4)] }];
        index.write(|state| state.reset(nodes));
        assert!(!index.apply(presence(4)));
        assert_eq!(index.write(State::take_unnamed), [UserId(9)]);
    }
}
