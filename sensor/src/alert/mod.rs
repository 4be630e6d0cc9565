//! What a rule hit becomes: a document for an index, a text for a person.
