"""Online alarms: neurons of the chip that watch others while it works, and say that something broke."""
