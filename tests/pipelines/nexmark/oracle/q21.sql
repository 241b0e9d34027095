WITH found AS (
  SELECT
    *,
    map {'apple': '0', 'google': '1', 'facebook': '2', 'baidu': '3'}[lower(channel)] AS known,
    CASE WHEN url ~ '.*(&|^)channel_id=.*' THEN regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) END AS written
  FROM bid
)
SELECT auction, bidder, price, channel, coalesce(known, written) AS channel_id
FROM found
WHERE known IS NOT NULL OR written IS NOT NULL;
