//! Sessions, in each memory that they may be kept in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    InProcessMemory, ManualClock, Memory, Secret, SessionId, SessionPolicy, Sessions, SystemClock, Timestamp, UserId,
};
use futures_util::future::join_all;
use tests::{PATIENCE, Redis, eventually, or_skip, run::LIMIT, within};
use uuid::Uuid;

use super::memory::{LONG, Subject, patient};
use crate::fixture::instant;

const LASTING: SessionPolicy = SessionPolicy { idle: LONG, longest: LONG };

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn bob() -> UserId {
    UserId::new(Uuid::from_u128(2))
}

impl Subject {
    fn sessions(&self) -> Sessions<String> {
        self.sessions_with(LASTING)
    }

    fn sessions_with(&self, policy: SessionPolicy) -> Sessions<String> {
        Sessions::new(Arc::clone(&self.memory), SystemClock, policy)
    }
}

async fn create(sessions: &Sessions<String>, user: UserId, device: &str) -> Secret {
    sessions.create(user, device.to_owned()).await.unwrap().0
}

async fn is_good(sessions: &Sessions<String>, key: &Secret) -> bool {
    sessions.look_up(key).await.unwrap().is_some()
}

async fn devices(sessions: &Sessions<String>, user: UserId) -> Vec<String> {
    let mut devices = sessions.list(user).await.unwrap().into_iter().map(|session| session.data).collect::<Vec<_>>();
    devices.sort();
    devices
}

on_each!(
    async fn a_session_is_created_read_and_revoked(subject: Subject) {
        let sessions = subject.sessions();
        let (key, session) = sessions.create(ada(), "laptop".to_owned()).await.unwrap();
        assert_eq!((session.user, session.data.as_str()), (ada(), "laptop"));
        assert_eq!(session.id, SessionId::of(&key));
        assert!(!session.id.to_string().contains(&key.reveal()), "what names it does not open it");
        assert_eq!(sessions.look_up(&key).await.unwrap(), Some(session.clone()));
        assert_eq!(sessions.touch(&key).await.unwrap(), Some(session.clone()));
        // As it comes back from a client.
        assert!(is_good(&sessions, &key.reveal().parse().unwrap()).await);
        let guessed = "0".repeat(64).parse().unwrap();
        assert!(!is_good(&sessions, &guessed).await);
        assert!(sessions.touch(&guessed).await.unwrap().is_none());
        assert!(sessions.rotate(&guessed).await.unwrap().is_none());
        assert!(sessions.revoke(&session.id).await.unwrap());
        assert!(!sessions.revoke(&session.id).await.unwrap());
        assert!(!is_good(&sessions, &key).await);
        assert!(sessions.touch(&key).await.unwrap().is_none(), "it does not come back to life");
        assert!(!is_good(&sessions, &key).await);
        assert!(sessions.list(ada()).await.unwrap().is_empty());
    }

    async fn all_of_a_user_are_listed_and_revoked(subject: Subject) {
        let sessions = subject.sessions();
        let (laptop, phone) = (create(&sessions, ada(), "laptop").await, create(&sessions, ada(), "phone").await);
        let others = create(&sessions, bob(), "bob's").await;
        assert_eq!(devices(&sessions, ada()).await, ["laptop", "phone"]);
        assert!(sessions.revoke(&SessionId::of(&phone)).await.unwrap());
        assert_eq!(devices(&sessions, ada()).await, ["laptop"]);
        sessions.revoke_all(ada()).await.unwrap();
        assert!(!is_good(&sessions, &laptop).await);
        assert!(sessions.rotate(&laptop).await.unwrap().is_none());
        assert!(sessions.list(ada()).await.unwrap().is_empty());
        assert!(is_good(&sessions, &others).await);
        // Whoever signs in again is in.
        let again = create(&sessions, ada(), "again").await;
        assert!(is_good(&sessions, &again).await);
        sessions.revoke_all(ada()).await.unwrap();
        assert!(!is_good(&sessions, &again).await);
        sessions.revoke_all(bob()).await.unwrap();
        assert!(!is_good(&sessions, &others).await);
    }

    async fn rotation_changes_the_key_at_once(subject: Subject) {
        let sessions = subject.sessions();
        let (old, session) = sessions.create(ada(), "laptop".to_owned()).await.unwrap();
        let (new, rotated) = sessions.rotate(&old).await.unwrap().unwrap();
        assert!(new != old && rotated.id != session.id);
        assert_eq!((rotated.began, rotated.ends, rotated.data.as_str()), (session.began, session.ends, "laptop"));
        assert!(!is_good(&sessions, &old).await);
        assert!(is_good(&sessions, &new).await);
        assert_eq!(sessions.list(ada()).await.unwrap(), [rotated]);
        assert!(sessions.rotate(&old).await.unwrap().is_none());

        let rotating = (0..100).map(|_| {
            let (sessions, new) = (sessions.clone(), new.clone());
            tokio::spawn(async move { sessions.rotate(&new).await.unwrap() })
        });
        let rotated = join_all(rotating).await.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(rotated.len(), 1, "one of a hundred succeeds");
        assert_eq!(sessions.list(ada()).await.unwrap(), [rotated[0].1.clone()]);
    }

    /// Whatever else is done with a session meanwhile, it is over when all were revoked.
    async fn nothing_outlives_that_all_are_revoked(subject: Subject) {
        let sessions = subject.sessions();
        for _ in 0..20 {
            let first = create(&sessions, ada(), "laptop").await;
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let busy = (0..4).map(|_| {
                let (sessions, mut key, stopped) = (sessions.clone(), first.clone(), stopped.clone());
                tokio::spawn(async move {
                    let mut keys = vec![key.clone()];
                    while !*stopped.borrow() {
                        sessions.touch(&key).await.unwrap();
                        if let Some((rotated, _)) = sessions.rotate(&key).await.unwrap() {
                            keys.push(rotated.clone());
                            key = rotated;
                        }
                        tokio::task::yield_now().await;
                    }
                    keys
                })
            });
            let busy = busy.collect::<Vec<_>>();
            sessions.look_up(&first).await.unwrap();
            sessions.revoke_all(ada()).await.unwrap();
            stop.send(true).unwrap();
            for keys in join_all(busy).await {
                for key in keys.unwrap() {
                    assert!(!is_good(&sessions, &key).await);
                }
            }
            assert!(sessions.list(ada()).await.unwrap().is_empty());
        }
    }

    async fn an_unused_session_ends(subject: Subject) {
        const IDLE: Duration = Duration::from_millis(300);
        let sessions = subject.sessions_with(SessionPolicy { idle: IDLE, longest: LONG });
        let start = Instant::now();
        let key = create(&sessions, ada(), "laptop").await;
        // Reading is no use of it.
        eventually("it ends", PATIENCE, async || (!is_good(&sessions, &key).await).then_some(())).await;
        assert!(start.elapsed() >= IDLE - Duration::from_millis(2), "{:?}", start.elapsed());
        assert!(sessions.list(ada()).await.unwrap().is_empty());
    }

    async fn a_used_session_goes_on_and_ends_at_last(subject: Subject) {
        const IDLE: Duration = Duration::from_secs(5);
        const LONGEST: Duration = Duration::from_secs(7);
        let sessions = subject.sessions_with(SessionPolicy { idle: IDLE, longest: LONGEST });
        let (key, session) = sessions.create(ada(), "laptop".to_owned()).await.unwrap();
        let start = Instant::now();
        let mut last = start;
        eventually("it ends although it is used", PATIENCE, async || {
            if sessions.touch(&key).await.unwrap().is_some() {
                last = Instant::now();
                return None;
            }
            Some(())
        })
        .await;
        let lived = last - start;
        // Without being used it would have ended before, unless the machine slept for so long.
        assert!(lived > IDLE || last.elapsed() > IDLE / 2, "{lived:?}");
        assert!(lived <= LONGEST + Duration::from_millis(50), "{lived:?}");
        assert_eq!((session.ends.utc() - session.began.utc()).to_std().unwrap(), LONGEST);
    }

    /// Also by the clock of the application, whatever the memory believes.
    async fn no_session_outlives_its_end(subject: Subject) {
        let clock = Arc::new(ManualClock::new(instant("2026-01-01T00:00:00Z")));
        let sessions = Sessions::<String>::new(Arc::clone(&subject.memory), Shared(Arc::clone(&clock)), LASTING);
        let key = create(&sessions, ada(), "laptop").await;
        clock.set(instant("2026-01-01T00:09:59.999Z"));
        assert!(is_good(&sessions, &key).await);
        clock.set(instant("2026-01-01T00:10:00Z"));
        assert!(!is_good(&sessions, &key).await);
        assert!(sessions.list(ada()).await.unwrap().is_empty());
        assert!(sessions.rotate(&key).await.unwrap().is_none());
    }
);

struct Shared(Arc<ManualClock>);

impl domain::Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// The memory of a new process is another one, and Redis the same.
#[test]
fn sessions_in_redis_survive_the_service() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let before = Sessions::<String>::new(Arc::new(patient(&server)), SystemClock, LASTING);
        let key = create(&before, ada(), "laptop").await;
        drop(before);
        let after = Sessions::<String>::new(Arc::new(patient(&server)), SystemClock, LASTING);
        assert_eq!(after.look_up(&key).await.unwrap().unwrap().data, "laptop");
        assert_eq!(devices(&after, ada()).await, ["laptop"]);
        after.revoke_all(ada()).await.unwrap();

        let memory: Arc<dyn Memory> = Arc::new(InProcessMemory::new(1 << 20));
        let elsewhere = Sessions::<String>::new(memory, SystemClock, LASTING);
        assert!(!is_good(&elsewhere, &key).await);
    });
}

/// Neither the key of a session nor a token is in Redis, and everything there ends by itself.
#[test]
fn redis_holds_no_secret_and_nothing_for_ever() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let memory: Arc<dyn Memory> = Arc::new(patient(&server));
        let sessions = Sessions::<String>::new(Arc::clone(&memory), SystemClock, LASTING);
        let tokens = domain::Tokens::<u8>::new(Arc::clone(&memory), "resets", LONG);
        let key = create(&sessions, ada(), "laptop").await;
        let token = tokens.issue(&1).await.unwrap();
        sessions.revoke_all(bob()).await.unwrap();
        domain::Sets::<u8>::new(Arc::clone(&memory), "set", LONG).add("a", &1).await.unwrap();
        let names: Vec<String> = server.ask(&["KEYS", "*"]).await;
        assert_eq!(names.len(), 5, "{names:?}");
        for name in &names {
            assert!(name.starts_with("seabed:d:"), "{name}");
            let left: i64 = server.ask(&["PTTL", name]).await;
            assert!(left > 0 && left <= 2 * LONG.as_millis() as i64, "{name}: {left}");
            let dump: Vec<u8> = server.ask(&["DUMP", name]).await;
            for secret in [&key, &token] {
                let secret = secret.reveal();
                assert!(!name.contains(&secret));
                assert!(!dump.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name}");
            }
        }
    });
}
