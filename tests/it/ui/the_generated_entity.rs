//! error: E0433

pub fn names() {
    let _ = domain::entity::users::Entity;
}
