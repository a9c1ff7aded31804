//! Whatever it is asked, an adapter answers as the evaluator does.

use rand::{SeedableRng, rngs::StdRng};

use super::{any, *};

const SEED: u64 = 5;
const DOCUMENTS: usize = 130;
/// How many questions of each form there are.
const QUESTIONS: usize = 400;

/// Documents made by chance, as they are kept, and the chance that made them.
async fn populated(subject: &Subject) -> (Collection, Vec<Document>, StdRng) {
    let collection = prepared(subject).await;
    let mut chance = StdRng::seed_from_u64(SEED);
    let documents = (0..DOCUMENTS).map(|n| any::document(&mut chance, &format!("{n:03}"))).collect::<Vec<_>>();
    inserted(subject, &collection, documents.clone()).await;
    let kept = documents.into_iter().map(|document| collection.admit(document).unwrap()).collect();
    (collection, kept, chance)
}

on_each_adapter!(
    async fn questions_are_answered_as_the_evaluator_does(subject: Subject) {
        let (collection, documents, mut chance) = populated(&subject).await;
        let (mut some, mut not_all) = (0, 0);
        for n in 0..QUESTIONS {
            let query = any::query(&mut chance, &documents);
            let expected = query.run(documents.clone());
            let found = subject.documents.find(&collection, &query).await.unwrap();
            assert_eq!(found, expected, "question {n}: {query:#?}");
            let passing = documents.iter().filter(|document| query.filter.matches(document)).count();
            let count = subject.documents.count(&collection, &query.filter).await.unwrap();
            assert_eq!(count, passing as u64, "question {n}: {:#?}", query.filter);
            some += usize::from(passing > 0);
            not_all += usize::from(passing < documents.len());
        }
        assert!(some > QUESTIONS / 2 && not_all > QUESTIONS / 2, "{some} {not_all}");
    }

    async fn pipelines_give_what_the_evaluator_does(subject: Subject) {
        let (collection, documents, mut chance) = populated(&subject).await;
        for n in 0..QUESTIONS {
            let pipeline = any::pipeline(&mut chance);
            let expected = pipeline.run(documents.clone());
            let found = subject.documents.aggregate(&collection, &pipeline).await.unwrap();
            assert_eq!(found, expected, "pipeline {n}: {pipeline:#?}");
        }
    }

    async fn changes_are_those_of_the_evaluator(subject: Subject) {
        let (collection, mut documents, mut chance) = populated(&subject).await;
        for n in 0..QUESTIONS / 2 {
            let (filter, update) = (any::filter(&mut chance, 1), any::update(&mut chance));
            let mut changed = 0;
            for document in documents.iter_mut().filter(|document| filter.matches(document)) {
                update.apply(document).unwrap();
                *document = collection.admit(document.clone()).unwrap();
                changed += 1;
            }
            let count = subject.documents.update(&collection, &filter, &update).await.unwrap();
            assert_eq!(count, changed, "change {n}: {filter:#?} {update:#?}");
            if n % 10 == 9 {
                let left = documents.len();
                // Not too many at once.
                let filter = Filter::All(vec![
                    any::filter(&mut chance, 1),
                    any::filter(&mut chance, 0),
                    any::filter(&mut chance, 0),
                ]);
                documents.retain(|document| !filter.matches(document));
                let deleted = subject.documents.delete(&collection, &filter).await.unwrap();
                assert_eq!(deleted, (left - documents.len()) as u64, "deletion {n}: {filter:#?}");
            }
            let found = subject.documents.find(&collection, &Query::default()).await.unwrap();
            assert_eq!(found, documents, "change {n}: {filter:#?} {update:#?}");
        }
    }
);
