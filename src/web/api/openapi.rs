//! The API, described for tools: an OpenAPI 3.1 document, `/api/v1/openapi.json`.
//!
//! Written by hand. The tests beside it prove that it has every route and no other, the end-to-end tests that what the
//! running server answers is what it says.

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");
