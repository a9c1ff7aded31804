//! What every adapter of a port has to do: one suite per port, run for each adapter.

/// Makes of one body two tests, `name::in_process` and `name::redis`, each on a new `Subject`, which the suite makes.
macro_rules! on_each {
    ($($(#[$attribute:meta])* async fn $name:ident($subject:ident: Subject) $body:block)+) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                #[test]
                fn in_process() {
                    tests::within(tests::run::LIMIT, async { body(Subject::in_process()).await });
                }

                #[test]
                fn redis() {
                    tests::within(tests::run::LIMIT, async { body(tests::or_skip!(Subject::redis().await)).await });
                }

                async fn body($subject: Subject) $body
            }
        )+
    };
}

mod cache;
mod documents;
mod memory;
mod sessions;
