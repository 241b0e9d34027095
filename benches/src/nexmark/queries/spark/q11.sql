SELECT bidder, COUNT(*) AS bid_count, session_window.start AS start_time, session_window.end AS window_end
FROM bid
GROUP BY bidder, SESSION_WINDOW(date_time, '10 seconds')
