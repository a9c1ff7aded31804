//! Contents of two sizes, by an author who wrote nothing else: what is read of them must not cost more of our time the
//! longer it is.

use chrono::{DateTime, FixedOffset};
use entity::{contents, users};
use sea_orm::DatabaseConnection;
use uuid::Uuid;

use crate::fixture::{Outcome, id, insert};

/// How many there are of each size.
const DOCUMENTS: usize = 100;
/// How many bytes are in the body of a short one, and of a long one.
const SIZES: [usize; 2] = [200, 20_000];

/// Writes them, and gives the ids of the short ones and of the long ones. Their numbers, and so their ids, come after
/// all others.
pub(crate) async fn write(database: &DatabaseConnection) -> Outcome<[Vec<Uuid>; 2]> {
    let now: DateTime<FixedOffset> = "2026-11-01T12:34:56.789012Z".parse()?;
    let mut numbers = 500_000..;
    let mut next = || id(numbers.next().unwrap());
    let author = users::Model {
        id: next(),
        version: 1,
        created_at: now,
        updated_at: now,
        email: "author@example.com".to_owned(),
        name: "Author".to_owned(),
        role: "member".to_owned(),
        status: "active".to_owned(),
        last_active_at: Some(now),
        avatar: None,
    };
    let author_id = author.id;
    insert(database, vec![author]).await?;
    let mut documents = [const { Vec::new() }; 2];
    for (ids, size) in documents.iter_mut().zip(SIZES) {
        let document = |n| contents::Model {
            id: next(),
            version: 1,
            created_at: now,
            updated_at: now,
            author_id,
            title: format!("Document {n}"),
            body: "Words, ".chars().cycle().take(size).collect(),
            status: "published".to_owned(),
        };
        let rows = (0..DOCUMENTS).map(document).collect::<Vec<_>>();
        ids.extend(rows.iter().map(|row| row.id));
        insert(database, rows).await?;
    }
    Ok(documents)
}
