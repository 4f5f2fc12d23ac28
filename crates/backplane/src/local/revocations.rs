//! Who was logged out, kept over a restart: a token that was void before it is void after it.
//!
//! Owns: the list and its file. Never does: decide how long a token lives (its caller does). Talks to: one small file.
//! Start reading at: [`Revocations::add`].

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use protocol::{SessionId, UserId};

use crate::Revocation;

/// Lines at which the file is written anew without what has expired: 10,000 × about 70 bytes.
const LINES_MAX: usize = 10_000;

/// Users whose tokens of before a time are void: (before, login that stays, until).
type UserEntry = (u64, Option<SessionId>, u64);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
}

/// What is revoked, each until a time.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    sessions: HashMap<SessionId, u64>,
    users: HashMap<UserId, UserEntry>,
    journal: Option<Journal>,
}

impl Revocations {
    /// Reads the file, made if it is not there, and writes it anew without what has expired.
    pub(super) fn open(path: &Path, now_ms: u64) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut revocations = Self::default();
        // A torn last line was never answered for.
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).for_each(|line| {
            let _ = revocations.read(line);
        });
        revocations.rewrite(path, now_ms)?;
        Ok(revocations)
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        match words.next()? {
            "session" => {
                let session = words.next()?.parse().ok()?;
                self.sessions.insert(session, words.next()?.parse().ok()?);
            }
            "user" => {
                let user = words.next()?.parse().ok()?;
                let (before, until) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let except = words.next().map(str::parse).transpose().ok()?;
                self.users.insert(user, (before, except, until));
            }
            _ => {}
        }
        Some(())
    }

    fn rewrite(&mut self, path: &Path, now_ms: u64) -> io::Result<()> {
        self.sessions.retain(|_, until| *until > now_ms);
        self.users.retain(|_, (_, _, until)| *until > now_ms);
        let mut text = String::new();
        for (session, until) in &self.sessions {
            session_line(&mut text, *session, *until);
        }
        for (user, entry) in &self.users {
            user_line(&mut text, *user, *entry);
        }
        let staged = path.with_extension("new");
        let mut file = File::create(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&staged, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        let lines = self.sessions.len() + self.users.len();
        self.journal = Some(Journal { path: path.to_owned(), file, lines });
        Ok(())
    }

    /// Adds one; durable when this returns. Errors: the file cannot be written; it holds for this process all the same.
    pub(super) fn add(
        &mut self,
        revocation: Revocation,
        now_ms: u64,
        until: u64,
    ) -> io::Result<()> {
        let mut line = String::new();
        match revocation {
            Revocation::Session(session) => {
                self.sessions.insert(session, until);
                session_line(&mut line, session, until);
            }
            Revocation::User { user, except } => {
                self.users.insert(user, (now_ms, except, until));
                user_line(&mut line, user, (now_ms, except, until));
            }
        }
        let Some(journal) = &mut self.journal else {
            self.sessions.retain(|_, until| *until > now_ms);
            self.users.retain(|_, (_, _, until)| *until > now_ms);
            return Ok(());
        };
        if journal.lines >= LINES_MAX {
            let path = journal.path.clone();
            return self.rewrite(&path, now_ms);
        }
        journal.lines += 1;
        journal.file.write_all(line.as_bytes())?;
        journal.file.sync_data()
    }

    /// Whether a token of this login, issued then, is void.
    pub(super) fn holds(
        &self,
        user: UserId,
        session: SessionId,
        issued_at_ms: u64,
        now_ms: u64,
    ) -> bool {
        let by_session = self.sessions.get(&session).is_some_and(|until| *until > now_ms);
        let by_user = self.users.get(&user).is_some_and(|(before, except, until)| {
            *until > now_ms && issued_at_ms <= *before && *except != Some(session)
        });
        by_session || by_user
    }
}

fn session_line(text: &mut String, session: SessionId, until: u64) {
    let _ = writeln!(text, "session {session} {until}");
}

fn user_line(text: &mut String, user: UserId, (before, except, until): UserEntry) {
    let _ = match except {
        Some(session) => writeln!(text, "user {user} {before} {until} {session}"),
        None => writeln!(text, "user {user} {before} {until}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn a_restart_forgets_nothing_that_still_matters() {
        let folder = std::env::temp_dir().join(format!("webchat-revoked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("revocations");
        let mut first = Revocations::open(&path, 0).unwrap();
        first.add(Revocation::Session(SessionId(7)), 10, 100).unwrap();
        first.add(Revocation::Session(SessionId(8)), 10, 20).unwrap();
        let keep = Some(SessionId(9));
        first.add(Revocation::User { user: ADA, except: keep }, 30, 100).unwrap();
        drop(first);
        // Torn in the middle of a line, and the same after a second restart.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"session 0000").unwrap();
        for _ in 0..2 {
            let again = Revocations::open(&path, 50).unwrap();
            assert!(again.holds(BOB, SessionId(7), 5, 50));
            assert!(!again.holds(BOB, SessionId(8), 5, 50), "expired");
            assert!(
                again.holds(ADA, SessionId(1), 30, 50) && !again.holds(ADA, SessionId(1), 31, 50)
            );
            assert!(!again.holds(ADA, SessionId(9), 5, 50), "the login that stays");
            assert!(!again.holds(BOB, SessionId(7), 5, 100), "over");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
