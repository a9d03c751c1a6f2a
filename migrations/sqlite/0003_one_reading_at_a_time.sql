-- A feed is read by one process at a time: until then it is somebody's, who may have died.
ALTER TABLE feeds ADD COLUMN reading_until INTEGER;
