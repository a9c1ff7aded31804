//! Many records at once: the same as one by one, in few statements.

use domain::{
    AccountFilter, Content, DataModelId, Error, NewContent, NewDataModel, NewRelationship, NewTag, NewUser, Page,
    ProfileFields, Relationship, RelationshipKind, Store, StoreOptions, SystemClock, Tag, TagFilter, User, UserFilter,
};
use tests::{TestDatabase, on_both};

async fn store(database: &TestDatabase) -> Store {
    Store::connect(&StoreOptions::new(&database.url), SystemClock).await.unwrap()
}

fn user(number: usize) -> NewUser {
    let profile = ProfileFields { city: Some(format!("City {number}")), ..ProfileFields::default() };
    NewUser {
        email: format!("user{number}@example.org"),
        name: format!("User {number}"),
        role: None,
        avatar: None,
        profile: number.is_multiple_of(2).then_some(profile),
        accounts: vec!["EUR".parse().unwrap(); number],
    }
}

fn tags(count: usize) -> Vec<NewTag> {
    (0..count).map(|number| NewTag { name: format!("tag {number:05}") }).collect()
}

async fn insert_all<N: domain::Insert>(store: &Store, new: Vec<N>) -> domain::Result<Vec<N::Record>> {
    store
        .write(move |work| {
            let new = new.clone();
            async move { work.insert_all(new).await }
        })
        .await
}

on_both!(
    async fn rows_beyond_the_parameters_of_one_statement_are_written(database: TestDatabase) {
        let store = store(&database).await;
        // Five columns each: more than either database takes in one statement.
        let made = insert_all(&store, tags(14_000)).await.unwrap();
        assert_eq!(store.count(&TagFilter::default()).await.unwrap(), 14_000);
        assert!(made.is_sorted_by(|a, b| a.id < b.id && a.name < b.name), "in the order in which they were given");
        let last = made.last().unwrap();
        assert_eq!(&store.find::<Tag>(last.id).await.unwrap(), last);
        assert_eq!(insert_all(&store, Vec::<NewTag>::new()).await.unwrap(), []);
        store.close().await;
    }

    async fn what_goes_along_with_a_record_is_written(database: TestDatabase) {
        let store = store(&database).await;
        let users = insert_all(&store, (0..10).map(user).collect()).await.unwrap();
        let ids = users.iter().map(|user| user.id).collect::<Vec<_>>();
        let profiles = store.related(&User::PROFILE, &ids).await.unwrap();
        assert_eq!(profiles.len(), 5);
        assert_eq!(profiles[&ids[4]][0].city.as_deref(), Some("City 4"));
        let accounts = AccountFilter { owner_id: Some(ids[3]), ..AccountFilter::default() };
        assert_eq!(store.count(&accounts).await.unwrap(), 3);

        let tags = insert_all(&store, tags(3)).await.unwrap().iter().map(|tag| tag.id).collect::<Vec<_>>();
        let content = |tags: &[domain::TagId]| NewContent {
            author_id: ids[0],
            title: "A title".to_owned(),
            body: String::new(),
            status: None,
            tags: tags.to_vec(),
        };
        let reversed = [tags[2], tags[0]];
        let contents = insert_all(&store, vec![content(&reversed), content(&[]), content(&tags)]).await.unwrap();
        let of = contents.iter().map(|content| content.id).collect::<Vec<_>>();
        let linked = store.related(Content::TAGS.relation(), &of).await.unwrap();
        let linked =
            |place: usize| linked.get(&of[place]).map(|tags| tags.iter().map(|tag| tag.id).collect::<Vec<_>>());
        assert_eq!((linked(0), linked(1), linked(2)), (Some(reversed.to_vec()), None, Some(tags.clone())));

        let missing = domain::Id::new(ids[0].uuid());
        let refused = insert_all(&store, vec![content(&[]), content(&[tags[0], missing])]).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/1/tags/1"]);
        store.close().await;
    }

    async fn all_or_nothing_is_written(database: TestDatabase) {
        let store = store(&database).await;
        let invalid = NewUser { email: "nobody".to_owned(), name: String::new(), ..user(1) };
        let refused = insert_all(&store, vec![user(0), invalid]).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/1/email", "/1/name", "/1/name"]);
        let taken = insert_all(&store, vec![user(0), user(1), user(0)]).await.unwrap_err();
        assert!(matches!(&taken, Error::Conflict(fields) if fields[0].pointer == "/email"), "{taken:?}");
        let absent = NewDataModel { owner_id: Some(domain::Id::new(uuid::Uuid::nil())), ..model(1) };
        let orphan = insert_all(&store, vec![model(0), absent]).await.unwrap_err();
        assert_eq!(pointers(&orphan), ["/owner_id"]);
        assert_eq!(store.list(&UserFilter::default(), &Page::default()).await.unwrap().records, []);
        store.close().await;
    }

    /// A rule that looks at other records of the same noun sees those that were just made.
    async fn edges_of_one_call_close_no_circle(database: TestDatabase) {
        let store = store(&database).await;
        let models = insert_all(&store, vec![model(0), model(1)]).await.unwrap();
        let edge = |from_model_id: DataModelId, to_model_id: DataModelId| NewRelationship {
            from_model_id,
            to_model_id,
            kind: RelationshipKind::Contains,
        };
        let circle = vec![edge(models[0].id, models[1].id), edge(models[1].id, models[0].id)];
        assert!(insert_all(&store, circle).await.is_err());
        let line: Vec<Relationship> = insert_all(&store, vec![edge(models[0].id, models[1].id)]).await.unwrap();
        assert_eq!(line.len(), 1);
        store.close().await;
    }
);

fn model(number: usize) -> NewDataModel {
    NewDataModel { owner_id: None, name: format!("Model {number}"), fields: Vec::new() }
}

fn pointers(error: &Error) -> Vec<&str> {
    match error {
        Error::Invalid(fields) => fields.iter().map(|field| field.pointer.as_str()).collect(),
        error => panic!("{error:?}"),
    }
}
