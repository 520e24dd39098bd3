//! HTTP/1.x as far as a gateway has to read it: heads, where what is behind them ends, and what was agreed on. No socket is
//! known here.

pub mod answers;
pub mod body;
pub mod follow;
pub mod request;
