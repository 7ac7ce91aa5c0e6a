//! The MQTT listener over real sockets, intake and journal: what is acknowledged is durable, what is
//! wrong is told so, and costs nobody else anything.

mod endings;
mod foreign;
mod full;
mod hostile;
mod published;
pub mod rig;
mod rumqtt;
