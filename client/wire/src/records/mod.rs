//! Records of Kafka's internal topics, and what group members tell each other.
