//! error: E0433

pub fn changes() {
    let _ = domain::TransferPatch::default();
}
