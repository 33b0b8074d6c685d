//! temporary
pub(super) fn account() {}
