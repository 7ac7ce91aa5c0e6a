//! One test binary; a module a question.

mod tidy;
